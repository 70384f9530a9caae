-- name: settings
-- Small statements that always go through an index: what was planned while the tables were empty
-- stays right when they are full. A server that does not sync is asked to, for acknowledged is durable.
-- Time-outs that a role or a database sets for others would cut a session that waits on purpose.
SELECT set_config('search_path', 'kallista', false),
       set_config('enable_seqscan', 'off', false),
       set_config('enable_hashjoin', 'off', false),
       set_config('enable_mergejoin', 'off', false),
       set_config('jit', 'off', false),
       set_config('plan_cache_mode', 'force_generic_plan', false),
       set_config('idle_in_transaction_session_timeout', '10s', false),
       set_config('lock_timeout', '20s', false),
       set_config('statement_timeout', '0', false),
       set_config('idle_session_timeout', '0', false),
       CASE WHEN current_setting('transaction_timeout', true) IS NOT NULL
            THEN set_config('transaction_timeout', '0', false) END,
       set_config('default_transaction_isolation', 'read committed', false),
       set_config('synchronous_commit',
                  CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on'
                       ELSE current_setting('synchronous_commit') END, false);

-- name: server
-- Which server this is, and since when it has been running: sessions live no longer than that.
SELECT system_identifier || '/' || extract(epoch FROM pg_postmaster_start_time())
FROM pg_control_system();

-- name: store_tables
-- Whether the schema is there, with our tables, with others, or with none.
SELECT to_regnamespace('kallista') IS NOT NULL,
       to_regclass('kallista.store') IS NOT NULL,
       EXISTS (SELECT 1 FROM pg_class WHERE relnamespace = to_regnamespace('kallista'));

-- name: compatible_from
-- Of which version the store is, and the oldest program that may use it.
SELECT version, compatible_from FROM store;

-- name: set_version
-- Part of the migration that leads there.
UPDATE store SET version = :version::bigint;

-- name: session_mark
-- Held as long as the session lives, so that others see whether it does.
SELECT pg_advisory_lock(:kind::integer, :key::integer);

-- name: end_marked_session
-- A session that was lost on our side may live on at the server, until it notices.
SELECT pg_terminate_backend(pid) FROM pg_locks
WHERE locktype = 'advisory' AND granted AND classid = :kind::bigint::oid
  AND objid = :key::bigint::oid
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database());

-- name: session_unmark
-- The session lives on, but not for this any more.
SELECT pg_advisory_unlock(:kind::integer, :key::integer);

-- name: insert_handle
-- One more program has the store open.
INSERT INTO handles (commits) VALUES (0) RETURNING key;

-- name: delete_handle
-- It has closed it.
DELETE FROM handles WHERE key = :key::bigint;

-- name: drop_dead_handles
-- Programs that were killed leave theirs. Whoever is only between two sessions, and will ask whether
-- its last group was written, is back within a week.
DELETE FROM handles
WHERE written_at < now() - interval '7 days'
  AND NOT EXISTS (
      SELECT 1 FROM pg_locks
      WHERE locktype = 'advisory' AND classid = :kind::bigint::oid AND objid = handles.key::oid
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
  );

-- name: next_commit
-- Numbers the group, so that after a lost connection its number tells whether it was committed. In a
-- store that has been migrated beyond what this program knows it divides by zero.
INSERT INTO handles (key, commits)
SELECT :key::bigint, :commits::bigint / (compatible_from <= :known::bigint)::integer FROM store
WHERE id = 1
ON CONFLICT (key) DO UPDATE SET commits = excluded.commits, written_at = excluded.written_at;

-- name: last_commit
-- Which group of this program was written last.
SELECT commits FROM handles WHERE key = :key::bigint;

-- name: notify
-- One call a group, and only when another program could hear it.
SELECT pg_notify('kallista', :key::text)
WHERE EXISTS (SELECT 1 FROM handles WHERE key <> :key::text::bigint);

-- name: size
-- What the store takes on the server's disk.
SELECT sum(pg_total_relation_size(oid))::bigint FROM pg_class
WHERE relnamespace = to_regnamespace('kallista') AND relkind = 'r';
