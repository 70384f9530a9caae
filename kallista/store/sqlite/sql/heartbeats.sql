-- name: hear
-- Only a running attempt is heard; the details of one before it stay until there are others.
INSERT INTO heartbeats (run, step, attempt, at, fraction, message, details)
SELECT :run, :step, :attempt, :at, :fraction, :message, :details
WHERE EXISTS (
    SELECT 1 FROM steps
    WHERE run = :run AND step = :step AND attempt = :attempt AND status = 'RUNNING'
) OR EXISTS (
    SELECT 1 FROM runs
    WHERE key = :run AND kind = 'task' AND task_attempt = :attempt AND status = 'RUNNING'
)
ON CONFLICT (run, step) DO UPDATE
SET attempt = excluded.attempt, at = excluded.at, fraction = excluded.fraction,
    message = excluded.message, details = coalesce(excluded.details, details);

-- name: heartbeats_of_runs
-- What is known of attempts of the runs' steps.
SELECT run, step, attempt, at, fraction, message, details FROM heartbeats
WHERE run IN (SELECT value FROM json_each(:keys)) ORDER BY run, step;

-- name: forget
-- The step has no attempt any more; one without a heartbeat is no error.
DELETE FROM heartbeats WHERE run = :run AND step = :step;
