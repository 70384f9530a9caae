-- name: insert_worker
-- The key names the lock file that shows whether it lives.
INSERT INTO workers (name, types, started_at) VALUES (:name, :types, :started_at) RETURNING key;

-- name: update_worker
-- Other types, the same worker.
UPDATE workers SET name = :name, types = :types WHERE key = :key;

-- name: put_type_schema
-- The newest word on a type's parameters counts, also after its worker has gone.
INSERT OR REPLACE INTO type_schemas (type, schema) VALUES (:type, :schema);

-- name: type_schemas
-- What clients without the code validate by.
SELECT type, schema FROM type_schemas ORDER BY type;

-- name: workers
-- All that are known, the dead ones not yet removed included.
SELECT key, name, types, started_at, beat FROM workers ORDER BY key;

-- name: worker_names
-- Whom a migration would disturb; it asks for no column that came later.
SELECT key, name FROM workers;

-- name: beats
-- Who counts as alive, and how often each has renewed its lease.
SELECT key, beat FROM workers;

-- name: beat
-- The worker is still there; no row means that it has been taken for dead.
UPDATE workers SET beat = beat + 1 WHERE key = :key RETURNING beat;

-- name: owners
-- Who drives anything: a seek each, and also those whose own row is gone.
WITH RECURSIVE found (owner) AS (
    SELECT min(owner) FROM runs WHERE owner IS NOT NULL
    UNION ALL
    SELECT (SELECT min(owner) FROM runs WHERE owner > found.owner)
    FROM found WHERE found.owner IS NOT NULL
)
SELECT owner FROM found WHERE owner IS NOT NULL;

-- name: free_runs
-- A new epoch without an owner: what the one before still reports is stale.
UPDATE runs SET owner = NULL, epoch = epoch + 1, version = version + 1 WHERE owner = :owner
RETURNING key;

-- name: free_entries
-- The entries of freed runs lie where everybody looks.
UPDATE queue SET holder = 0 WHERE holder = :holder;

-- name: delete_worker
-- It executes nothing any more.
DELETE FROM workers WHERE key = :key;
