-- name: types_held
-- Which types wait at all: one seek each, however many entries they have.
WITH RECURSIVE found (type) AS (
    SELECT min(type) FROM queue WHERE holder = :holder
    UNION ALL
    SELECT (SELECT min(type) FROM queue WHERE holder = :holder AND type > found.type)
    FROM found WHERE found.type IS NOT NULL
)
SELECT type FROM found WHERE type IS NOT NULL;

-- name: ranks_held
-- Which priorities wait, the highest first: one seek each, however many entries they have.
WITH RECURSIVE found (rank) AS (
    SELECT min(rank) FROM queue WHERE holder = :holder AND type = :type
    UNION ALL
    SELECT (
        SELECT min(rank) FROM queue
        WHERE holder = :holder AND type = :type AND rank > found.rank
    )
    FROM found WHERE found.rank IS NOT NULL
)
SELECT rank FROM found WHERE rank IS NOT NULL;

-- name: due_entries
-- Read only as far as there are free slots, so entries that are not due are never met.
SELECT rank, ready_at, run, step FROM queue
WHERE holder = :holder AND type = :type AND rank = :rank AND ready_at <= :now
  AND (:within IS NULL
       OR (SELECT coalesce(root, key) FROM runs WHERE key = queue.run) = :within)
ORDER BY ready_at, run, step;

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

-- name: take_run
-- A new owner is a new epoch: whatever was decided before is stale.
UPDATE runs SET owner = :owner, epoch = epoch + 1, version = version + 1 WHERE key = :key;

-- name: queued_types
-- What waits, for those who ask whether anybody executes it.
SELECT type, count(*) FROM queue WHERE type <> '' GROUP BY type;
