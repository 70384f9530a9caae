-- Version 3: the step of a single task stands in its run's row, since every plan of one changes both.

-- With the run's status; other runs have NULL there.
ALTER TABLE runs ADD COLUMN task_attempt INTEGER;
ALTER TABLE runs ADD COLUMN task_failures INTEGER;
ALTER TABLE runs ADD COLUMN task_crashes INTEGER;
ALTER TABLE runs ADD COLUMN task_ready_at INTEGER;
ALTER TABLE runs ADD COLUMN task_since INTEGER;
ALTER TABLE runs ADD COLUMN task_started_at INTEGER;
ALTER TABLE runs ADD COLUMN task_ended_at INTEGER;
ALTER TABLE runs ADD COLUMN task_worker INTEGER;
ALTER TABLE runs ADD COLUMN task_outcome INTEGER;
ALTER TABLE runs ADD COLUMN task_passed INTEGER;

UPDATE runs
SET task_attempt = s.attempt, task_failures = s.failures, task_crashes = s.crashes,
    task_ready_at = s.ready_at, task_since = s.since, task_started_at = s.started_at,
    task_ended_at = s.ended_at, task_worker = s.worker, task_outcome = s.outcome,
    task_passed = s.passed
FROM steps AS s
WHERE runs.kind = 'task' AND s.run = runs.key AND s.step = 0;

DELETE FROM steps WHERE run IN (SELECT key FROM runs WHERE kind = 'task');

DROP VIEW run_records;

CREATE VIEW run_records AS
SELECT
    r.key, r.id, r.kind, r.name, r.status, q.definition AS definition_key, d.hash AS definition,
    q.content, q.inputs, r.parent, r.parent_step, p.id AS parent_id,
    coalesce(r.root, r.key) AS root, r.schedule, r.priority, q.tags, r.created_at, r.owner,
    r.epoch, r.version, r.step_count, r.state, r.seq, r.in_flight, r.started_at, r.ended_at,
    r.deadline_at, r.driven, r.held, r.outcome, r.task_attempt, r.task_failures, r.task_crashes,
    r.task_ready_at, r.task_since, r.task_started_at, r.task_ended_at, r.task_worker,
    r.task_outcome, r.task_passed
FROM runs AS r
JOIN requests AS q ON q.run = r.key
JOIN definitions AS d ON d.key = q.definition
LEFT JOIN runs AS p ON p.key = r.parent;

UPDATE store SET compatible_from = 3;
