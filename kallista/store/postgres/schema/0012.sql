-- Version 12: runs that are forks of others.

-- The run that a fork goes on from, and at which step, as JSON; NULL for others. Older programs would
-- undo what a fork has kept.
ALTER TABLE requests ADD COLUMN forked_from text COLLATE "C";

DROP VIEW run_records;

CREATE VIEW run_records AS
SELECT
    r.key, q.id, r.kind, q.name, r.status, q.definition AS definition_key, d.hash AS definition,
    q.content, q.inputs, q.parent, q.parent_step, p.id AS parent_id,
    coalesce(q.root, r.key) AS root, q.schedule, q.priority, q.tags, q.created_at, r.owner,
    r.epoch, r.version, q.step_count, q.forked_from, r.state, r.seq, r.in_flight,
    r.started_at, r.ended_at,
    r.deadline_at, r.driven, r.held, r.outcome, r.ending, r.still_since,
    r.stood_still, r.task_attempt, r.task_failures, r.task_crashes, r.task_ready_at, r.task_since,
    r.task_started_at, r.task_ended_at, r.task_worker, r.task_outcome, r.task_passed
FROM runs AS r
JOIN requests AS q ON q.run = r.key
JOIN definitions AS d ON d.key = q.definition
LEFT JOIN requests AS p ON p.run = q.parent;

UPDATE store SET compatible_from = 12;
