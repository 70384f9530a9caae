-- name: runs_of_ids
-- Which ids are taken, and by what.
SELECT r.id, r.key, r.kind, r.name, q.content
FROM runs AS r JOIN requests AS q ON q.run = r.key
WHERE r.id IN (SELECT value FROM json_each(:ids));

-- name: roots_of
-- The tops of the trees that new children join.
SELECT key, coalesce(root, key) FROM runs WHERE key IN (SELECT value FROM json_each(:keys));

-- name: last_run_key
-- Keys are counted on by whoever writes, so that all rows of many runs can be written together.
SELECT max(seq) FROM sqlite_sequence WHERE name = 'runs';

-- name: insert_run
-- Every other table points to its key.
INSERT INTO runs (
    key, state, seq, in_flight, started_at, ended_at, deadline_at, driven, held, outcome, ending,
    still_since, stood_still, version, owner, epoch, status, id, kind, name, parent, parent_step,
    root, schedule, priority, created_at, step_count, task_attempt, task_failures, task_crashes, task_ready_at, task_since,
    task_started_at, task_ended_at, task_worker, task_outcome, task_passed
) VALUES (
    :key, :state, :seq, :in_flight, :started_at, :ended_at, :deadline_at, :driven, :held, :outcome,
    :ending, :still_since, :stood_still, :version, :owner, :epoch, :status, :id, :kind, :name,
    :parent, :parent_step, :root, :schedule, :priority, :created_at, :step_count, :attempt,
    :failures, :crashes, :ready_at, :since,
    :task_started_at, :task_ended_at, :worker, :task_outcome, :passed
);

-- name: insert_request
-- What was asked for, once and for all.
INSERT INTO requests (run, definition, content, tags, inputs, forked_from)
VALUES (:run, :definition, :content, :tags, :inputs, :forked_from);

-- name: insert_tag
-- A tag given twice counts once.
INSERT OR IGNORE INTO run_tags (tag, run) VALUES (:tag, :run);

-- name: insert_wait
-- Whom the end of a run concerns.
INSERT OR IGNORE INTO waits (awaited, run) VALUES (:awaited, :run);

-- name: any_run
-- Who waits only for what does not exist yet closes no circle.
SELECT EXISTS (SELECT 1 FROM runs WHERE id IN (SELECT value FROM json_each(:ids)));

-- name: waiting_for
-- Who waits for any of these, directly or through others: processes that have not started, and the
-- unfinished parents of runs.
WITH RECURSIVE pairs (awaited, run) AS (
    SELECT w.awaited, w.run
    FROM waits AS w CROSS JOIN runs AS r ON r.key = w.run
    WHERE w.awaited IN (SELECT value FROM json_each(:ids))
      AND r.started_at IS NULL
    UNION
    SELECT r.id, p.key
    FROM runs AS r CROSS JOIN runs AS p ON p.key = r.parent
    WHERE r.id IN (SELECT value FROM json_each(:ids)) AND p.ended_at IS NULL
    UNION
    SELECT b.id, r.key
    FROM pairs AS x CROSS JOIN runs AS b ON b.key = x.run
    CROSS JOIN waits AS w ON w.awaited = b.id CROSS JOIN runs AS r ON r.key = w.run
    WHERE r.started_at IS NULL
    UNION
    SELECT b.id, p.key
    FROM pairs AS x CROSS JOIN runs AS b ON b.key = x.run CROSS JOIN runs AS p ON p.key = b.parent
    WHERE p.ended_at IS NULL
)
SELECT x.awaited, r.id FROM pairs AS x CROSS JOIN runs AS r ON r.key = x.run;

-- name: any_tombstone
-- Mostly nothing was ever deleted.
SELECT EXISTS (SELECT 1 FROM tombstones);

-- name: drop_tombstone
-- An id that is used again is no longer a deleted one's.
DELETE FROM tombstones WHERE id = :id;

-- name: definition_keys
-- A definition is stored once, however many runs use it.
SELECT hash, key FROM definitions WHERE hash IN (SELECT value FROM json_each(:hashes));

-- name: last_definition_key
-- The next new definition has the one after it.
SELECT max(key) FROM definitions;

-- name: insert_definition
-- The first run of a definition brings it along.
INSERT INTO definitions (key, hash, content) VALUES (:key, :hash, :content);

-- name: name_definition
-- The name means this definition from now on.
INSERT OR REPLACE INTO definition_names (kind, name, definition, defined_at)
VALUES (:kind, :name, :definition, :defined_at);

-- name: definition_of_name
-- Which definition a name means so far.
SELECT definition FROM definition_names WHERE kind = :kind AND name = :name;

-- name: definition_of_run
-- Which definition a run has so far.
SELECT definition FROM requests WHERE run = :run;

-- name: redefine_request
-- A run that goes on with another definition has that from then on.
UPDATE requests SET definition = :definition WHERE run = :run;

-- name: resize_run
-- The other definition may have more steps.
UPDATE runs SET step_count = :step_count WHERE key = :run;

-- name: drop_unused_definition
-- The last one to use a definition takes it along.
DELETE FROM definitions
WHERE key = :key
  AND NOT EXISTS (SELECT 1 FROM requests WHERE definition = :key)
  AND NOT EXISTS (SELECT 1 FROM schedules WHERE definition = :key)
  AND NOT EXISTS (SELECT 1 FROM definition_names WHERE definition = :key);
