-- Version 13: the clocks of a paused run can stand still.

-- Since when, and for how long they did in earlier pauses. Older programs would let its moments come.
ALTER TABLE runs ADD COLUMN still_since INTEGER;
ALTER TABLE runs ADD COLUMN stood_still INTEGER NOT NULL DEFAULT 0;

DROP VIEW run_records;

CREATE VIEW run_records AS
SELECT
    r.key, r.id, r.kind, r.name, r.status, q.definition AS definition_key, d.hash AS definition,
    q.content, q.inputs, r.parent, r.parent_step, p.id AS parent_id,
    coalesce(r.root, r.key) AS root, r.schedule, r.priority, q.tags, r.created_at, r.owner,
    r.epoch, r.version, r.step_count, r.state, r.seq, r.in_flight, r.started_at, r.ended_at,
    r.deadline_at, r.driven, r.held, r.outcome, r.ending, r.still_since,
    r.stood_still, r.task_attempt, r.task_failures, r.task_crashes, r.task_ready_at, r.task_since,
    r.task_started_at, r.task_ended_at, r.task_worker, r.task_outcome, r.task_passed
FROM runs AS r
JOIN requests AS q ON q.run = r.key
JOIN definitions AS d ON d.key = q.definition
LEFT JOIN runs AS p ON p.key = r.parent;

UPDATE store SET compatible_from = 13;
