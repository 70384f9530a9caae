-- Version 14: runs that are forks of others.

-- The run that a fork goes on from, and at which step, as JSON; NULL for others. Older programs would
-- undo what a fork has kept.
ALTER TABLE requests ADD COLUMN forked_from TEXT;

DROP VIEW run_records;

CREATE VIEW run_records AS
SELECT
    r.key, r.id, r.kind, r.name, r.status, q.definition AS definition_key, d.hash AS definition,
    q.content, q.inputs, r.parent, r.parent_step, p.id AS parent_id,
    coalesce(r.root, r.key) AS root, r.schedule, r.priority, q.tags, r.created_at, r.owner,
    r.epoch, r.version, r.step_count, q.forked_from, r.state, r.seq, r.in_flight,
    r.started_at, r.ended_at,
    r.deadline_at, r.driven, r.held, r.outcome, r.ending, r.still_since,
    r.stood_still, r.task_attempt, r.task_failures, r.task_crashes, r.task_ready_at, r.task_since,
    r.task_started_at, r.task_ended_at, r.task_worker, r.task_outcome, r.task_passed
FROM runs AS r
JOIN requests AS q ON q.run = r.key
JOIN definitions AS d ON d.key = q.definition
LEFT JOIN runs AS p ON p.key = r.parent;

UPDATE store SET compatible_from = 14;
