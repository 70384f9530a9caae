-- name: schedule
-- One schedule with its definition.
SELECT s.id, s.status, s.trigger, d.hash, d.content, s.content, s.priority, s.tags, s.max_runs,
       s.until, s.fired, s.skipped, s.next_at, s.last_at, s.last_run, s.created_at, s.rules,
       s.look_at, s.note, s.since, s.inputs, s.version
FROM schedules AS s JOIN definitions AS d ON d.key = s.definition
WHERE s.id = :id;

-- name: due_schedules
-- The longest due first, each with whether its last firing is still under way.
SELECT s.id, s.status, s.trigger, d.hash, d.content, s.content, s.priority, s.tags, s.max_runs,
       s.until, s.fired, s.skipped, s.next_at, s.last_at, s.last_run, s.created_at, s.rules,
       s.look_at, s.note, s.since, s.inputs, s.version,
       EXISTS (SELECT 1 FROM runs
               WHERE id = s.last_run AND (ended_at IS NULL OR in_flight > 0))
FROM schedules AS s JOIN definitions AS d ON d.key = s.definition
WHERE s.status = 'ACTIVE' AND s.look_at <= :now
ORDER BY s.look_at, s.id LIMIT :limit;

-- name: next_schedule_at
-- When somebody has to look at the schedules again.
SELECT min(look_at) FROM schedules WHERE status = 'ACTIVE' AND look_at > :after;

-- name: list_schedules
-- A page of schedules in the order of their ids.
SELECT s.id, s.status, s.trigger, d.hash, d.content, s.content, s.priority, s.tags, s.max_runs,
       s.until, s.fired, s.skipped, s.next_at, s.last_at, s.last_run, s.created_at, s.rules,
       s.look_at, s.note, s.since, s.inputs, s.version
FROM schedules AS s JOIN definitions AS d ON d.key = s.definition
WHERE s.id > :after AND (:status IS NULL OR s.status = :status)
ORDER BY s.id LIMIT :limit;

-- name: schedule_content
-- Whether an id is taken, and by what.
SELECT content, definition FROM schedules WHERE id = :id;

-- name: insert_schedule
-- A new schedule starts at the version it brings.
INSERT INTO schedules (
    id, status, trigger, definition, content, priority, tags, max_runs, until, fired, skipped,
    next_at, last_at, last_run, created_at, rules, look_at, note, since,
    inputs, version
) VALUES (
    :id, :status, :trigger, :definition, :content, :priority, :tags, :max_runs, :until, :fired,
    :skipped, :next_at, :last_at, :last_run, :created_at, :rules,
    :look_at, :note, :since, :inputs, :version
);

-- name: advance_schedule
-- The fence: who looked at an older version changes nothing.
UPDATE schedules
SET status = :status, fired = :fired, skipped = :skipped, next_at = :next_at, last_at = :last_at,
    last_run = :last_run, look_at = :look_at, note = :note, since = :since,
    version = version + 1
WHERE id = :id AND version = :version;

-- name: delete_schedule
-- Its past firings stay.
DELETE FROM schedules WHERE id = :id;
