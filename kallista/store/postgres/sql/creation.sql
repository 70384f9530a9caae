-- name: runs_of_ids
-- Which ids are taken, and by what.
SELECT r.id, r.key, r.kind, r.name, q.content
FROM runs AS r JOIN requests AS q ON q.run = r.key
WHERE r.id = ANY (:ids::text[]);

-- name: roots_of
-- The tops of the trees that new children join; the parents stay until this is committed.
SELECT key, coalesce(root, key) FROM runs WHERE key = ANY (:keys::bigint[])
ORDER BY key FOR KEY SHARE;

-- name: next_run_keys
-- Keys are drawn beforehand, so that all rows of many runs can be written together.
SELECT nextval('runs_key_seq') FROM generate_series(1, :count::bigint);

-- name: insert_run
-- Every other table points to its key.
INSERT INTO runs (
    key, state, seq, in_flight, started_at, ended_at, deadline_at, driven, held, outcome, version,
    owner, epoch, status, id, kind, name, parent, parent_step, root, schedule, priority,
    created_at, step_count
)
SELECT * FROM unnest(
    :key::bigint[], :state::text[], :seq::bigint[], :in_flight::bigint[], :started_at::bigint[],
    :ended_at::bigint[], :deadline_at::bigint[], :driven::bigint[], :held::boolean[],
    :outcome::bigint[], :version::bigint[], :owner::bigint[], :epoch::bigint[], :status::text[],
    :id::text[], :kind::text[], :name::text[], :parent::bigint[], :parent_step::bigint[],
    :root::bigint[], :schedule::text[], :priority::bigint[], :created_at::bigint[],
    :step_count::bigint[]
);

-- name: insert_request
-- What was asked for, once and for all.
INSERT INTO requests (run, definition, content, tags, inputs)
SELECT p.run, d.key, p.content, p.tags, p.inputs
FROM unnest(
    :run::bigint[], :hash::text[], :content::text[], :tags::text[], :inputs::text[]
) AS p (run, hash, content, tags, inputs)
JOIN definitions AS d ON d.hash = p.hash;

-- name: insert_tag
-- A tag given twice counts once.
INSERT INTO run_tags (tag, run) SELECT * FROM unnest(:tag::text[], :run::bigint[])
ON CONFLICT DO NOTHING;

-- name: insert_wait
-- Whom the end of a run concerns.
INSERT INTO waits (awaited, run) SELECT * FROM unnest(:awaited::text[], :run::bigint[])
ON CONFLICT DO NOTHING;

-- name: insert_entry
-- What is to be done first.
INSERT INTO queue (holder, type, rank, ready_at, run, step)
SELECT holder, type, -priority, ready_at, run, step
FROM unnest(
    :holder::bigint[], :type::text[], :priority::bigint[], :ready_at::bigint[], :run::bigint[],
    :step::bigint[]
) AS p (holder, type, priority, ready_at, run, step);

-- name: drop_tombstone
-- An id that is used again is no longer a deleted one's.
DELETE FROM tombstones WHERE id = ANY (:ids::text[]);

-- name: definition_keys
-- A definition is stored once, however many runs use it.
SELECT hash, key FROM definitions WHERE hash = ANY (:hashes::text[]);

-- name: insert_definition
-- The first run of a definition brings it along. Even when nothing is new, this keeps those away who
-- would drop what nobody uses (see hold_definitions).
INSERT INTO definitions (hash, content)
SELECT hash, content FROM unnest(:hash::text[], :content::text[]) AS p (hash, content)
WHERE NOT EXISTS (SELECT 1 FROM definitions AS d WHERE d.hash = p.hash)
ORDER BY hash
ON CONFLICT DO NOTHING;

-- name: name_definition
-- The name means this definition from now on.
INSERT INTO definition_names (kind, name, definition, defined_at)
VALUES (:kind::text, :name::text, :definition::bigint, :defined_at::bigint)
ON CONFLICT (kind, name) DO UPDATE
SET definition = excluded.definition, defined_at = excluded.defined_at;

-- name: definition_of_name
-- Which definition a name means so far.
SELECT definition FROM definition_names WHERE kind = :kind::text AND name = :name::text;

-- name: hold_definitions
-- Nobody begins to use a definition from here on until this is committed, and all who did are seen.
LOCK TABLE definitions IN SHARE ROW EXCLUSIVE MODE;

-- name: drop_unused_definition
-- The last one to use a definition takes it along.
DELETE FROM definitions AS d
WHERE d.key = ANY (:keys::bigint[])
  AND NOT EXISTS (SELECT 1 FROM requests WHERE definition = d.key)
  AND NOT EXISTS (SELECT 1 FROM schedules WHERE definition = d.key)
  AND NOT EXISTS (SELECT 1 FROM definition_names WHERE definition = d.key);
