-- name: records_by_key
-- Whole runs, a list of keys at once.
SELECT * FROM run_records WHERE key IN (SELECT value FROM json_each(:keys));

-- name: record_by_id
-- The run that a user means.
SELECT * FROM run_records WHERE id = :id;

-- name: records_by_id
-- Those of the runs that exist.
SELECT * FROM run_records WHERE id IN (SELECT value FROM json_each(:ids));

-- name: steps_of
-- The steps to which something has happened.
SELECT step, status, attempt, failures, crashes, ready_at, since, started_at, ended_at, worker,
       outcome, passed
FROM steps WHERE run = :run;

-- name: steps_of_runs
-- The same of many runs at once.
SELECT run, step, status, attempt, failures, crashes, ready_at, since, started_at, ended_at, worker,
       outcome, passed
FROM steps WHERE run IN (SELECT value FROM json_each(:keys));

-- name: definition_contents
-- The definitions that runs keep from their start to their end.
SELECT hash, content FROM definitions WHERE key IN (SELECT value FROM json_each(:keys));

-- name: history
-- A page of what happened, in order.
SELECT seq, at, kind, step, attempt, data FROM events
WHERE run = :run AND seq >= :from_seq
ORDER BY seq LIMIT :limit;

-- name: step_outcomes
-- A result is stored once, in the event that brought it; the step points there.
SELECT s.step, e.data FROM steps AS s JOIN events AS e ON e.run = s.run AND e.seq = s.outcome
WHERE s.run = :run AND e.data IS NOT NULL
  AND (:steps IS NULL OR s.step IN (SELECT value FROM json_each(:steps)))
UNION ALL
SELECT 0, e.data FROM runs AS r JOIN events AS e ON e.run = r.key AND e.seq = r.task_outcome
WHERE r.key = :run AND e.data IS NOT NULL
  AND (:steps IS NULL OR 0 IN (SELECT value FROM json_each(:steps)));

-- name: run_outcome
-- Why the run itself failed, where that was not one of its steps.
SELECT e.data FROM runs AS r JOIN events AS e ON e.run = r.key AND e.seq = r.outcome
WHERE r.key = :run AND e.data IS NOT NULL;

-- name: keys
-- The newest runs of all.
SELECT key FROM runs WHERE key < :before ORDER BY key DESC LIMIT :limit;

-- name: keys_by_status
-- The newest runs in one state, seeking in the index on it.
SELECT key FROM runs WHERE kind = :kind AND status = :status AND key < :before
ORDER BY key DESC LIMIT :limit;

-- name: keys_by_name
-- The newest runs of one name, seeking in the index on it.
SELECT key FROM runs WHERE name = :name AND key < :before ORDER BY key DESC LIMIT :limit;

-- name: keys_by_tag
-- The newest runs with one tag, seeking in the table of tags.
SELECT run FROM run_tags WHERE tag = :tag AND run < :before ORDER BY run DESC LIMIT :limit;

-- name: keys_by_schedule
-- The newest firings of one schedule, seeking in the index on it.
SELECT key FROM runs WHERE schedule = :schedule AND key < :before
ORDER BY key DESC LIMIT :limit;

-- name: keys_by_parent
-- The newest children of one run, seeking in the index on it.
SELECT key FROM runs WHERE parent = :parent AND key < :before ORDER BY key DESC LIMIT :limit;

-- name: matching_records
-- Those of some runs that match the whole filter; READY is a SCHEDULED task whose moment has come.
SELECT * FROM run_records AS r
WHERE r.key IN (SELECT value FROM json_each(:keys))
  AND (:kind IS NULL OR r.kind = :kind)
  AND (:name IS NULL OR r.name = :name)
  AND (:created_from IS NULL OR r.created_at >= :created_from)
  AND (:created_until IS NULL OR r.created_at < :created_until)
  AND (:schedule IS NULL OR r.schedule = :schedule)
  AND (:parent IS NULL OR r.parent = :parent)
  AND (NOT :roots OR r.parent IS NULL)
  AND (:short IS NULL OR EXISTS (
           SELECT 1 FROM failures WHERE short = :short AND run = r.key
             AND (:error IS NULL OR error = :error)
           UNION ALL
           SELECT 1 FROM failures WHERE short = :short AND root = r.key
             AND (:error IS NULL OR error = :error)))
  AND (:tag IS NULL OR EXISTS (SELECT 1 FROM run_tags WHERE tag = :tag AND run = r.key))
  AND (:statuses IS NULL
       OR CASE
              WHEN r.status = 'SCHEDULED' AND r.kind = 'task' AND r.task_ready_at <= :now
                  THEN 'READY'
              ELSE r.status
          END IN (SELECT value FROM json_each(:statuses)))
ORDER BY r.key DESC;

-- name: count_runs
-- How full the store is, read from the index alone.
SELECT kind, status, count(*) FROM runs GROUP BY kind, status;

-- name: definition_by_name
-- What a name means now.
SELECT d.content FROM definition_names AS n JOIN definitions AS d ON d.key = n.definition
WHERE n.kind = :kind AND n.name = :name;

-- name: definition_names
-- All names of a kind.
SELECT name FROM definition_names WHERE kind = :kind ORDER BY name;

-- name: runs_of_owner
-- What a worker drives.
SELECT key FROM runs WHERE owner = :owner ORDER BY key;
