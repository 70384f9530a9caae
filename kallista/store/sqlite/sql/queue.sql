-- name: next_type
-- Which types wait at all is found by skipping from one to the next, however many entries they have.
SELECT min(type) FROM queue WHERE holder = :holder AND type > :after;

-- name: next_rank
-- Which priorities wait, the highest first, is found in the same way.
SELECT min(rank) FROM queue WHERE holder = :holder AND type = :type AND rank > :after;

-- name: due_entries
-- Read only as far as there are free slots, so entries that are not due are never met. A row is a
-- line as the program keeps it: its turn comes first (ClaimRequest.turn), last whether it is gated.
SELECT coalesce(ready_at + :shift, :standing), rank, ready_at, run, step, type, holder, :owner,
       EXISTS (SELECT 1 FROM gates AS g WHERE g.run = queue.run AND g.step = queue.step)
FROM queue
WHERE holder = :holder AND type = :type AND rank = :rank AND ready_at <= :now
  AND (:within IS NULL
       OR (SELECT coalesce(root, key) FROM runs WHERE key = queue.run) = :within)
ORDER BY ready_at, run, step;

-- name: due_shared
-- Tasks of processes, with who drives the run: what is lent already is not lent again.
SELECT coalesce(q.ready_at + :shift, :standing), q.rank, q.ready_at, q.run, q.step, q.type, q.holder,
       r.owner, EXISTS (SELECT 1 FROM gates AS g WHERE g.run = q.run AND g.step = q.step)
FROM queue AS q CROSS JOIN runs AS r ON r.key = q.run
WHERE q.holder = -1 AND q.type = :type AND q.rank = :rank AND q.ready_at <= :now
  AND (:within IS NULL OR coalesce(r.root, r.key) = :within)
  AND (r.owner IS NULL OR r.owner = :worker
       OR NOT EXISTS (SELECT 1 FROM loans WHERE run = q.run AND step = q.step))
ORDER BY q.ready_at, q.run, q.step;

-- name: next_shared
-- When this worker should ask again for tasks of processes.
SELECT q.ready_at
FROM queue AS q CROSS JOIN runs AS r ON r.key = q.run
WHERE q.holder = -1 AND q.type = :type AND q.rank = :rank AND q.ready_at > :now
  AND (:within IS NULL OR coalesce(r.root, r.key) = :within)
  AND (r.owner IS NULL OR r.owner = :worker
       OR NOT EXISTS (SELECT 1 FROM loans WHERE run = q.run AND step = q.step))
ORDER BY q.ready_at LIMIT 1;

-- name: next_due
-- When this worker should ask again if nobody tells it earlier.
SELECT ready_at FROM queue
WHERE holder = :holder AND type = :type AND rank = :rank AND ready_at > :now
  AND (:within IS NULL
       OR (SELECT coalesce(root, key) FROM runs WHERE key = queue.run) = :within)
ORDER BY ready_at LIMIT 1;

-- name: take_entry
-- A claimed entry is the worker's alone and leaves the queue.
DELETE FROM queue
WHERE holder = :holder AND type = :type AND rank = :rank AND ready_at = :ready_at
  AND run = :run AND step = :step;

-- name: take_runs
-- A new owner is a new epoch: whatever was decided before is stale.
UPDATE runs SET owner = :owner, epoch = epoch + 1, version = version + 1
WHERE key IN (SELECT value FROM json_each(:keys));

-- name: queued_types
-- What waits, for those who ask whether anybody executes it.
SELECT type, count(*) FROM queue WHERE type <> '' GROUP BY type;
