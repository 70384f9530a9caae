-- name: runs_of_ids
-- Which ids are taken, and by what.
SELECT q.id, q.run, r.kind, q.name, q.content
FROM requests AS q JOIN runs AS r ON r.key = q.run
WHERE q.id = ANY (:ids::text[]);

-- name: roots_of
-- The tops of the trees that new children join; the parents stay until this is committed.
SELECT r.key, coalesce(q.root, q.run) FROM runs AS r JOIN requests AS q ON q.run = r.key
WHERE r.key = ANY (:keys::bigint[])
ORDER BY r.key FOR KEY SHARE OF r;

-- name: next_run_keys
-- Keys are drawn beforehand, so that all rows of many runs can be written together.
SELECT nextval('runs_key_seq') FROM generate_series(1, :count::bigint);

-- name: insert_run
-- Every other table points to its key.
INSERT INTO runs (
    key, state, seq, in_flight, started_at, ended_at, deadline_at, driven, held, outcome, ending,
    still_since, stood_still, version, owner, epoch, status, kind, task_attempt, task_failures,
    task_crashes, task_ready_at, task_since, task_started_at, task_ended_at, task_worker,
    task_outcome, task_passed
)
SELECT
    unnest(:key::bigint[]), unnest(:state::text[]), unnest(:seq::bigint[]),
    unnest(:in_flight::bigint[]), unnest(:started_at::bigint[]), unnest(:ended_at::bigint[]),
    unnest(:deadline_at::bigint[]), unnest(:driven::bigint[]), unnest(:held::boolean[]),
    unnest(:outcome::bigint[]), unnest(:ending::text[]), unnest(:still_since::bigint[]),
    unnest(:stood_still::bigint[]), unnest(:version::bigint[]), unnest(:owner::bigint[]),
    unnest(:epoch::bigint[]), unnest(:status::text[]), unnest(:kind::text[]),
    unnest(:attempt::bigint[]), unnest(:failures::bigint[]), unnest(:crashes::bigint[]),
    unnest(:ready_at::bigint[]), unnest(:since::bigint[]), unnest(:task_started_at::bigint[]),
    unnest(:task_ended_at::bigint[]), unnest(:worker::bigint[]), unnest(:task_outcome::bigint[]),
    unnest(:passed::boolean[]);

-- name: insert_request
-- What was asked for, once and for all.
INSERT INTO requests (
    run, id, name, parent, parent_step, root, schedule, priority, created_at, step_count,
    definition, content, tags, inputs, forked_from
)
SELECT p.run, p.id, p.name, p.parent, p.parent_step, p.root, p.schedule, p.priority, p.created_at,
       p.step_count, d.key, p.content, p.tags, p.inputs, p.forked_from
FROM (
    SELECT
        unnest(:run::bigint[]) AS run, unnest(:id::text[]) AS id, unnest(:name::text[]) AS name,
        unnest(:parent::bigint[]) AS parent, unnest(:parent_step::bigint[]) AS parent_step,
        unnest(:root::bigint[]) AS root, unnest(:schedule::text[]) AS schedule,
        unnest(:priority::bigint[]) AS priority, unnest(:created_at::bigint[]) AS created_at,
        unnest(:step_count::bigint[]) AS step_count, unnest(:hash::text[]) AS hash,
        unnest(:content::text[]) AS content, unnest(:tags::text[]) AS tags,
        unnest(:inputs::text[]) AS inputs, unnest(:forked_from::text[]) AS forked_from
) AS p
JOIN definitions AS d ON d.hash = p.hash;

-- name: hold_waits
-- Who creates a process that waits for others sees all that were created so before: two programs could
-- close a circle together, and neither would see it. Nor does a run end meanwhile without seeing who
-- waits for it from now on (see keep_waits). 0x4B414C57 is "KALW".
SELECT pg_advisory_xact_lock(1262570583);

-- name: any_run
-- Who waits only for what does not exist yet closes no circle.
SELECT EXISTS (SELECT 1 FROM requests WHERE id = ANY (:ids::text[]));

-- name: waiting_for
-- Who waits for any of these, directly or through others: processes that have not started, and the
-- unfinished parents of runs.
WITH RECURSIVE pairs (awaited, run) AS (
    SELECT e.awaited, e.run
    FROM unnest(:ids::text[]) AS s (id) CROSS JOIN LATERAL (
        SELECT w.awaited, w.run
        FROM waits AS w JOIN runs AS r ON r.key = w.run
        WHERE w.awaited = s.id AND r.started_at IS NULL
        UNION ALL
        SELECT q.id, p.key
        FROM requests AS q JOIN runs AS p ON p.key = q.parent
        WHERE q.id = s.id AND p.ended_at IS NULL
    ) AS e
    UNION
    SELECT e.awaited, e.run
    FROM pairs AS x JOIN requests AS b ON b.run = x.run CROSS JOIN LATERAL (
        SELECT w.awaited, w.run
        FROM waits AS w JOIN runs AS r ON r.key = w.run
        WHERE w.awaited = b.id AND r.started_at IS NULL
        UNION ALL
        SELECT b.id, p.key FROM runs AS p WHERE p.key = b.parent AND p.ended_at IS NULL
    ) AS e
)
SELECT x.awaited, q.id FROM pairs AS x JOIN requests AS q ON q.run = x.run;

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
FROM (
    SELECT
        unnest(:holder::bigint[]) AS holder, unnest(:type::text[]) AS type,
        unnest(:priority::bigint[]) AS priority, unnest(:ready_at::bigint[]) AS ready_at,
        unnest(:run::bigint[]) AS run, unnest(:step::bigint[]) AS step
) AS p;

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

-- name: definition_of_run
-- Which definition a run has so far.
SELECT definition FROM requests WHERE run = :run::bigint;

-- name: redefine_request
-- A run that goes on with another definition has that from then on; it may have more steps.
UPDATE requests SET definition = :definition::bigint, step_count = :step_count::bigint
WHERE run = :run::bigint;

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
