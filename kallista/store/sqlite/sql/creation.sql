-- name: run_of_id
-- Whether an id is taken, and by what.
SELECT r.key, r.kind, r.name, q.content
FROM runs AS r JOIN requests AS q ON q.run = r.key
WHERE r.id = :id;

-- name: root_of
-- The top of the tree that a new child joins.
SELECT coalesce(root, key) FROM runs WHERE key = :key;

-- name: insert_run
-- The key is the answer; every other table points to it.
INSERT INTO runs (
    state, seq, in_flight, started_at, ended_at, deadline_at, driven, held, outcome, version,
    owner, epoch, status, id, kind, name, parent, parent_step, root, schedule, priority,
    created_at, step_count
) VALUES (
    :state, :seq, :in_flight, :started_at, :ended_at, :deadline_at, :driven, :held, :outcome, :version,
    :owner, :epoch, :status, :id, :kind, :name, :parent, :parent_step, :root, :schedule,
    :priority, :created_at, :step_count
) RETURNING key;

-- name: insert_request
-- What was asked for, once and for all.
INSERT INTO requests (run, definition, content, tags, inputs)
VALUES (:run, :definition, :content, :tags, :inputs);

-- name: insert_tag
-- A tag given twice counts once.
INSERT OR IGNORE INTO run_tags (tag, run) VALUES (:tag, :run);

-- name: insert_wait
-- Whom the end of a run concerns.
INSERT OR IGNORE INTO waits (awaited, run) VALUES (:awaited, :run);

-- name: drop_tombstone
-- An id that is used again is no longer a deleted one's.
DELETE FROM tombstones WHERE id = :id;

-- name: definition_key
-- A definition is stored once, however many runs use it.
SELECT key FROM definitions WHERE hash = :hash;

-- name: insert_definition
-- The first run of a definition brings it along.
INSERT INTO definitions (hash, content) VALUES (:hash, :content) RETURNING key;

-- name: name_definition
-- The name means this definition from now on.
INSERT OR REPLACE INTO definition_names (kind, name, definition, defined_at)
VALUES (:kind, :name, :definition, :defined_at);

-- name: definition_of_name
-- Which definition a name means so far.
SELECT definition FROM definition_names WHERE kind = :kind AND name = :name;

-- name: drop_unused_definition
-- The last one to use a definition takes it along.
DELETE FROM definitions
WHERE key = :key
  AND NOT EXISTS (SELECT 1 FROM requests WHERE definition = :key)
  AND NOT EXISTS (SELECT 1 FROM schedules WHERE definition = :key)
  AND NOT EXISTS (SELECT 1 FROM definition_names WHERE definition = :key);
