-- name: doomed_runs
-- A finished run with the finished children below it; a child that is unfinished, or of which something
-- is still in flight, stays, with all of its own.
WITH RECURSIVE doomed (key) AS (
    SELECT :key::bigint
    UNION ALL
    SELECT r.key FROM doomed AS d
    JOIN requests AS q ON q.parent = d.key
    JOIN runs AS r ON r.key = q.run
    WHERE r.ended_at IS NOT NULL AND r.in_flight = 0
)
SELECT d.key, q.definition FROM doomed AS d JOIN requests AS q ON q.run = d.key;

-- name: hold_doomed
-- Those of them that are still over, so that nobody goes on with one until this is committed.
SELECT key FROM runs
WHERE key = ANY (:keys::bigint[]) AND (key = :top::bigint OR ended_at IS NOT NULL AND in_flight = 0)
ORDER BY key FOR UPDATE;

-- name: deletable_run
-- Shows whether it is still what the caller saw, and keeps it so.
SELECT q.id, r.kind, r.version, r.state, r.ended_at FROM runs AS r JOIN requests AS q ON q.run = r.key
WHERE r.key = :key::bigint FOR UPDATE OF r;

-- name: insert_tombstone
-- Who waits for the run learns how it ended.
INSERT INTO tombstones (id, kind, status, deleted_at)
SELECT q.id, r.kind, r.status, :now::bigint FROM runs AS r JOIN requests AS q ON q.run = r.key
WHERE r.key = ANY (:keys::bigint[])
ON CONFLICT (id) DO UPDATE
SET kind = excluded.kind, status = excluded.status, deleted_at = excluded.deleted_at;

-- name: delete_tags
-- Nobody finds it by them any more.
DELETE FROM run_tags WHERE run = ANY (:runs::bigint[]);

-- name: delete_waits
-- Nobody is to be woken any more.
DELETE FROM waits WHERE run = ANY (:runs::bigint[]);

-- name: delete_entries
-- Nothing is to be done any more.
DELETE FROM queue WHERE run = ANY (:runs::bigint[]);

-- name: delete_loans
-- Nobody executes anything of it any more.
DELETE FROM loans WHERE run = ANY (:runs::bigint[]);

-- name: delete_failures
-- Nobody looks for them any more.
DELETE FROM failures WHERE run = ANY (:runs::bigint[]);

-- name: delete_same
-- It is the answer no more.
DELETE FROM same_again WHERE run = ANY (:runs::bigint[]);

-- name: delete_spending
-- What it has spent goes with it.
DELETE FROM spending WHERE run = ANY (:runs::bigint[]);

-- name: delete_budgets
-- It spends nothing any more.
DELETE FROM budgets WHERE run = ANY (:runs::bigint[]);

-- name: delete_heartbeats
-- Nothing of it is executed any more.
DELETE FROM heartbeats WHERE run = ANY (:runs::bigint[]);

-- name: delete_events
-- The history goes with its run.
DELETE FROM events WHERE run = ANY (:runs::bigint[]);

-- name: delete_steps
-- The steps go with their run.
DELETE FROM steps WHERE run = ANY (:runs::bigint[]);

-- name: delete_request
-- The request goes with its run.
DELETE FROM requests WHERE run = ANY (:runs::bigint[]);

-- name: delete_run
-- Last of all the run itself.
DELETE FROM runs WHERE key = ANY (:keys::bigint[]);

-- name: tombstone
-- What stayed of a deleted run.
SELECT id, kind, status, deleted_at FROM tombstones WHERE id = :id::text;

-- name: purgeable_runs
-- Trees that may go: all of them over, nothing above them, and nobody outside that could go on waits
-- for any of them. Who waited and is COMPLETED has no need of it any more.
WITH RECURSIVE doomed (top, key) AS (
    SELECT r.key, r.key FROM runs AS r JOIN requests AS q ON q.run = r.key
    WHERE r.key = ANY (:keys::bigint[]) AND r.ended_at < :ended_before::bigint
      AND NOT EXISTS (SELECT 1 FROM runs AS p WHERE p.key = q.parent)
    UNION ALL
    SELECT d.top, q.run FROM doomed AS d JOIN requests AS q ON q.parent = d.key
)
SELECT d.key, q.definition FROM doomed AS d JOIN requests AS q ON q.run = d.key
WHERE d.top NOT IN (
    SELECT d.top FROM doomed AS d JOIN runs AS r ON r.key = d.key
    JOIN requests AS q ON q.run = d.key
    WHERE r.ended_at IS NULL OR r.in_flight > 0
       OR EXISTS (
           SELECT 1 FROM waits AS w JOIN runs AS o ON o.key = w.run
           JOIN requests AS p ON p.run = w.run
           WHERE w.awaited = q.id AND o.state <> 'COMPLETED'
             AND coalesce(p.root, p.run) <> coalesce(q.root, q.run)
       )
);
