-- name: doomed_runs
-- A finished run with the finished children below it; a child that is unfinished, or of which something
-- is still in flight, stays, with all of its own.
WITH RECURSIVE doomed (key) AS (
    VALUES (:key)
    UNION ALL
    SELECT r.key FROM doomed AS d JOIN runs AS r ON r.parent = d.key
    WHERE r.ended_at IS NOT NULL AND r.in_flight = 0
)
SELECT d.key, q.definition FROM doomed AS d JOIN requests AS q ON q.run = d.key;

-- name: deletable_run
-- Shows whether it is still what the caller saw.
SELECT id, kind, version, state, ended_at FROM runs WHERE key = :key;

-- name: insert_tombstone
-- Who waits for the run learns how it ended.
INSERT OR REPLACE INTO tombstones (id, kind, status, deleted_at)
SELECT id, kind, status, :now FROM runs WHERE key = :key;

-- name: delete_tags
-- Tags are found by what the request says, for their own index runs the other way.
DELETE FROM run_tags
WHERE run = :run
  AND tag IN (SELECT value FROM json_each((SELECT tags FROM requests WHERE run = :run)));

-- name: delete_waits
-- Nobody is to be woken any more.
DELETE FROM waits WHERE run = :run;

-- name: delete_entries
-- Nothing is to be done any more.
DELETE FROM queue WHERE run = :run;

-- name: delete_loans
-- Nobody executes anything of it any more.
DELETE FROM loans WHERE run = :run;

-- name: delete_failures
-- Nobody looks for them any more.
DELETE FROM failures WHERE run = :run;

-- name: delete_same
-- It is the answer no more.
DELETE FROM same_again WHERE run = :run;

-- name: delete_spending
-- What it has spent goes with it.
DELETE FROM spending WHERE run = :run;

-- name: delete_budgets
-- It spends nothing any more.
DELETE FROM budgets WHERE run = :run;

-- name: delete_heartbeats
-- Nothing of it is executed any more.
DELETE FROM heartbeats WHERE run = :run;

-- name: delete_events
-- The history goes with its run.
DELETE FROM events WHERE run = :run;

-- name: delete_steps
-- The steps go with their run.
DELETE FROM steps WHERE run = :run;

-- name: delete_request
-- The request goes with its run.
DELETE FROM requests WHERE run = :run;

-- name: delete_run
-- Last of all the run itself.
DELETE FROM runs WHERE key = :key;

-- name: tombstone
-- What stayed of a deleted run.
SELECT id, kind, status, deleted_at FROM tombstones WHERE id = :id;

-- name: purgeable_runs
-- Trees that may go: all of them over, nothing above them, and nobody outside that could go on waits
-- for any of them. Who waited and is COMPLETED has no need of it any more.
WITH RECURSIVE doomed (top, key) AS (
    SELECT r.key, r.key FROM runs AS r
    WHERE r.key IN (SELECT value FROM json_each(:keys)) AND r.ended_at < :ended_before
      AND NOT EXISTS (SELECT 1 FROM runs AS p WHERE p.key = r.parent)
    UNION ALL
    SELECT d.top, r.key FROM doomed AS d CROSS JOIN runs AS r ON r.parent = d.key
)
SELECT d.key, q.definition FROM doomed AS d CROSS JOIN requests AS q ON q.run = d.key
WHERE d.top NOT IN (
    SELECT d.top FROM doomed AS d CROSS JOIN runs AS r ON r.key = d.key
    WHERE r.ended_at IS NULL OR r.in_flight > 0
       OR EXISTS (
           SELECT 1 FROM waits AS w CROSS JOIN runs AS o ON o.key = w.run
           WHERE w.awaited = r.id AND o.state <> 'COMPLETED'
             AND coalesce(o.root, o.key) <> coalesce(r.root, r.key)
       )
);
