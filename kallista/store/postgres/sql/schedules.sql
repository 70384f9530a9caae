-- name: schedule
-- One schedule with its definition.
SELECT s.id, s.status, s.trigger, d.hash, d.content, s.content, s.priority, s.tags, s.max_runs,
       s.until, s.fired, s.skipped, s.next_at, s.last_at, s.last_run, s.created_at, s.rules,
       s.look_at, s.note, s.since, s.inputs, s.version
FROM schedules AS s JOIN definitions AS d ON d.key = s.definition
WHERE s.id = :id::text;

-- name: due_schedules
-- The longest due first, each with whether its last firing is still under way.
SELECT s.id, s.status, s.trigger, d.hash, d.content, s.content, s.priority, s.tags, s.max_runs,
       s.until, s.fired, s.skipped, s.next_at, s.last_at, s.last_run, s.created_at, s.rules,
       s.look_at, s.note, s.since, s.inputs, s.version,
       EXISTS (SELECT 1 FROM requests AS q JOIN runs AS r ON r.key = q.run
               WHERE q.id = s.last_run AND (r.ended_at IS NULL OR r.in_flight > 0))
FROM schedules AS s JOIN definitions AS d ON d.key = s.definition
WHERE s.status = 'ACTIVE' AND s.look_at <= :now::bigint
ORDER BY s.look_at, s.id LIMIT :limit::bigint;

-- name: next_schedule_at
-- When somebody has to look at the schedules again.
SELECT min(look_at) FROM schedules WHERE status = 'ACTIVE' AND look_at > :after::bigint;

-- name: list_schedules
-- A page of schedules in the order of their ids.
SELECT s.id, s.status, s.trigger, d.hash, d.content, s.content, s.priority, s.tags, s.max_runs,
       s.until, s.fired, s.skipped, s.next_at, s.last_at, s.last_run, s.created_at, s.rules,
       s.look_at, s.note, s.since, s.inputs, s.version
FROM schedules AS s JOIN definitions AS d ON d.key = s.definition
WHERE s.id > :after::text AND (:status::text IS NULL OR s.status = :status::text)
ORDER BY s.id LIMIT :limit::bigint;

-- name: schedule_content
-- Whether an id is taken, and by what.
SELECT content, definition FROM schedules WHERE id = :id::text;

-- name: insert_schedule
-- A new schedule starts at the version it brings.
INSERT INTO schedules (
    id, status, trigger, definition, content, priority, tags, max_runs, until, fired, skipped,
    next_at, last_at, last_run, created_at, rules, look_at, note, since,
    inputs, version
) VALUES (
    :id::text, :status::text, :trigger::text, :definition::bigint, :content::text,
    :priority::bigint, :tags::text, :max_runs::bigint, :until::bigint, :fired::bigint,
    :skipped::bigint, :next_at::bigint, :last_at::bigint, :last_run::text, :created_at::bigint,
    :rules::text, :look_at::bigint, :note::text, :since::bigint,
    :inputs::text, :version::bigint
);

-- name: advance_schedule
-- The fence: who looked at an older version changes nothing.
UPDATE schedules
SET status = :status::text, fired = :fired::bigint, skipped = :skipped::bigint,
    next_at = :next_at::bigint, last_at = :last_at::bigint, last_run = :last_run::text,
    look_at = :look_at::bigint, note = :note::text, since = :since::bigint,
    version = version + 1
WHERE id = :id::text AND version = :version::bigint
RETURNING id;

-- name: delete_schedule
-- Its past firings stay.
DELETE FROM schedules WHERE id = :id::text;
