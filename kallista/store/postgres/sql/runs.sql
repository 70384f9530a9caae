-- name: records_by_key
-- Whole runs, a list of keys at once.
SELECT * FROM run_records WHERE key = ANY (:keys::bigint[]);

-- name: records_by_id
-- The runs that users mean, as far as they exist.
SELECT * FROM run_records WHERE id = ANY (:ids::text[]);

-- name: steps_of_runs
-- The steps to which something has happened; a single task's stands in its record.
SELECT run, step, status, attempt, failures, crashes, ready_at, since, started_at, ended_at, worker,
       outcome, passed
FROM steps WHERE run = ANY (:keys::bigint[]);

-- name: definition_contents
-- The definitions that runs keep from their start to their end.
SELECT hash, content FROM definitions WHERE hash = ANY (:hashes::text[]);

-- name: history
-- A page of what happened, in order.
SELECT seq, at, kind, step, attempt, data FROM events
WHERE run = :run::bigint AND seq >= :from_seq::bigint
ORDER BY seq LIMIT :limit::bigint;

-- name: step_outcomes
-- A result is stored once, in the event that brought it; the step points there.
SELECT s.run, s.step, e.data FROM steps AS s JOIN events AS e ON e.run = s.run AND e.seq = s.outcome
WHERE s.run = ANY (:runs::bigint[]) AND e.data IS NOT NULL
  AND (:steps::bigint[] IS NULL OR s.step = ANY (:steps::bigint[]))
UNION ALL
SELECT r.key, 0, e.data FROM runs AS r JOIN events AS e ON e.run = r.key AND e.seq = r.task_outcome
WHERE r.key = ANY (:runs::bigint[]) AND e.data IS NOT NULL
  AND (:steps::bigint[] IS NULL OR 0 = ANY (:steps::bigint[]));

-- name: run_outcome
-- Why the run itself failed, where that was not one of its steps.
SELECT r.key, e.data FROM runs AS r JOIN events AS e ON e.run = r.key AND e.seq = r.outcome
WHERE r.key = ANY (:runs::bigint[]) AND e.data IS NOT NULL;

-- name: keys
-- The newest runs of all.
SELECT key FROM runs WHERE key < :before::bigint
ORDER BY key DESC LIMIT :limit::bigint;

-- name: keys_by_status
-- The newest runs in one state, seeking in the index on it.
SELECT key FROM runs WHERE kind = :kind::text AND status = :status::text AND key < :before::bigint
ORDER BY key DESC LIMIT :limit::bigint;

-- name: keys_by_name
-- The newest runs of one name, seeking in the index on it.
SELECT run FROM requests WHERE name = :name::text AND run < :before::bigint
ORDER BY run DESC LIMIT :limit::bigint;

-- name: keys_by_tag
-- The newest runs with one tag, seeking in the table of tags.
SELECT run FROM run_tags WHERE tag = :tag::text AND run < :before::bigint
ORDER BY run DESC LIMIT :limit::bigint;

-- name: keys_by_schedule
-- The newest firings of one schedule, seeking in the index on it.
SELECT run FROM requests WHERE schedule = :schedule::text AND run < :before::bigint
ORDER BY run DESC LIMIT :limit::bigint;

-- name: keys_by_parent
-- The newest children of one run, seeking in the index on it.
SELECT run FROM requests WHERE parent = :parent::bigint AND run < :before::bigint
ORDER BY run DESC LIMIT :limit::bigint;

-- name: matching_records
-- Those of some runs that match the whole filter; READY is a SCHEDULED task whose moment has come.
SELECT * FROM run_records AS r
WHERE r.key = ANY (:keys::bigint[])
  AND (:kind::text IS NULL OR r.kind = :kind::text)
  AND (:name::text IS NULL OR r.name = :name::text)
  AND (:created_from::bigint IS NULL OR r.created_at >= :created_from::bigint)
  AND (:created_until::bigint IS NULL OR r.created_at < :created_until::bigint)
  AND (:schedule::text IS NULL OR r.schedule = :schedule::text)
  AND (:parent::bigint IS NULL OR r.parent = :parent::bigint)
  AND (NOT :roots::boolean OR r.parent IS NULL)
  AND (:short::text IS NULL OR EXISTS (
           SELECT 1 FROM failures WHERE short = :short::text AND run = r.key
             AND (:error::text IS NULL OR error = :error::text)
           UNION ALL
           SELECT 1 FROM failures WHERE short = :short::text AND root = r.key
             AND (:error::text IS NULL OR error = :error::text)))
  AND (:tag::text IS NULL OR EXISTS (SELECT 1 FROM run_tags WHERE tag = :tag::text AND run = r.key))
  AND (:statuses::text[] IS NULL
       OR CASE
              WHEN r.status = 'SCHEDULED' AND r.kind = 'task' AND r.task_ready_at <= :now::bigint
                  THEN 'READY'
              ELSE r.status
          END = ANY (:statuses::text[]))
ORDER BY r.key DESC;

-- name: count_runs
-- How full the store is, read from the index alone.
SELECT kind, status, count(*) FROM runs GROUP BY kind, status;

-- name: definition_by_name
-- What a name means now.
SELECT d.content FROM definition_names AS n JOIN definitions AS d ON d.key = n.definition
WHERE n.kind = :kind::text AND n.name = :name::text;

-- name: definition_names
-- All names of a kind.
SELECT name FROM definition_names WHERE kind = :kind::text ORDER BY name;

-- name: runs_of_owner
-- What a worker drives.
SELECT key FROM runs WHERE owner = :owner::bigint ORDER BY key;
