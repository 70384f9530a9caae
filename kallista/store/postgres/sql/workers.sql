-- name: next_worker_key
-- The session is marked with it before the worker can be seen.
SELECT nextval('workers_key_seq');

-- name: insert_worker
-- The key marks the session that shows whether it lives.
INSERT INTO workers (key, name, types, started_at, server)
VALUES (:key::bigint, :name::text, :types::text, :started_at::bigint, :server::text);

-- name: update_worker
-- Other types, the same worker; no row means that it has been taken for dead.
UPDATE workers SET name = :name::text, types = :types::text WHERE key = :key::bigint
RETURNING key;

-- name: move_worker
-- Its session lives on another server, or on the same one after a restart.
UPDATE workers SET server = :server::text WHERE key = :key::bigint;

-- name: put_type_schema
-- The newest word on a type's parameters counts, also after its worker has gone.
INSERT INTO type_schemas (type, schema)
SELECT * FROM unnest(:type::text[], :schema::text[]) AS p (type, schema) ORDER BY type
ON CONFLICT (type) DO UPDATE SET schema = excluded.schema
WHERE type_schemas.schema <> excluded.schema;

-- name: type_schemas
-- What clients without the code validate by.
SELECT type, schema FROM type_schemas ORDER BY type;

-- name: workers
-- All that are known, the dead ones not yet removed included, each with its server and the present
-- one, and whether its session is marked there.
SELECT w.key, w.name, w.types, w.started_at, w.beat,
       EXISTS (
           SELECT 1 FROM pg_locks
           WHERE locktype = 'advisory' AND classid = :kind::bigint::oid AND objid = w.key::oid
             AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
       )
       OR w.server <> (
           SELECT system_identifier || '/' || extract(epoch FROM pg_postmaster_start_time())
           FROM pg_control_system()
       )
FROM workers AS w ORDER BY w.key;

-- name: beat
-- The worker is still there; no row means that it has been taken for dead.
UPDATE workers SET beat = beat + 1 WHERE key = :key::bigint RETURNING beat;

-- name: owners
-- Who drives anything or holds lines of the queue: a seek each, and also those whose own row is gone.
WITH RECURSIVE owners (key) AS (
    SELECT min(owner) FROM runs WHERE owner IS NOT NULL
    UNION ALL
    SELECT (SELECT min(owner) FROM runs WHERE owner > owners.key)
    FROM owners WHERE owners.key IS NOT NULL
),
holders (key) AS (
    SELECT min(holder) FROM queue WHERE holder > 0
    UNION ALL
    SELECT (SELECT min(holder) FROM queue WHERE holder > holders.key)
    FROM holders WHERE holders.key IS NOT NULL
)
SELECT key FROM owners WHERE key IS NOT NULL
UNION
SELECT key FROM holders WHERE key IS NOT NULL;

-- name: free_runs
-- A new epoch without an owner: what the one before still reports is stale.
UPDATE runs SET owner = NULL, epoch = epoch + 1, version = version + 1
WHERE owner = :owner::bigint
RETURNING key;

-- name: free_entries
-- The entries of freed runs lie where everybody looks.
WITH moved AS (
    DELETE FROM queue WHERE holder = :holder::bigint
    RETURNING type, rank, ready_at, run, step
)
INSERT INTO queue (holder, type, rank, ready_at, run, step)
SELECT 0, type, rank, ready_at, run, step FROM moved ORDER BY 1, 2, 3, 4, 5, 6
ON CONFLICT DO NOTHING;

-- name: delete_worker
-- It executes nothing any more; one that has renewed its lease since it was last seen stays.
DELETE FROM workers WHERE key = :key::bigint AND (:beat::bigint IS NULL OR beat = :beat::bigint)
RETURNING key;
