-- name: hear
-- Only a running attempt is heard; the details of one before it stay until there are others. Its step
-- goes on running until this is committed: whoever ends it removes the row.
WITH said AS (
    SELECT
        unnest(:run::bigint[]) AS run, unnest(:step::bigint[]) AS step,
        unnest(:attempt::bigint[]) AS attempt, unnest(:at::bigint[]) AS at,
        unnest(:fraction::float8[]) AS fraction, unnest(:message::text[]) AS message,
        unnest(:details::text[]) AS details
),
tasks AS MATERIALIZED (
    SELECT r.key AS run, p.step
    FROM runs AS r JOIN said AS p ON p.run = r.key AND p.attempt = r.task_attempt
    WHERE r.kind = 'task' AND r.status = 'RUNNING'
    ORDER BY r.key FOR SHARE OF r
),
others AS MATERIALIZED (
    SELECT s.run, s.step
    FROM steps AS s JOIN said AS p ON p.run = s.run AND p.step = s.step AND p.attempt = s.attempt
    WHERE s.status = 'RUNNING'
    ORDER BY s.run, s.step FOR SHARE OF s
)
INSERT INTO heartbeats AS h (run, step, attempt, at, fraction, message, details)
SELECT p.run, p.step, p.attempt, p.at, p.fraction, p.message, p.details
FROM said AS p
JOIN (SELECT run, step FROM tasks UNION ALL SELECT run, step FROM others) AS r
    ON r.run = p.run AND r.step = p.step
ORDER BY p.run, p.step
ON CONFLICT (run, step) DO UPDATE
SET attempt = excluded.attempt, at = excluded.at, fraction = excluded.fraction,
    message = excluded.message, details = coalesce(excluded.details, h.details);

-- name: heartbeats_of_runs
-- What is known of attempts of the runs' steps.
SELECT run, step, attempt, at, fraction, message, details FROM heartbeats
WHERE run = ANY (:keys::bigint[]) ORDER BY run, step;

-- name: forget
-- The step has no attempt any more; one without a heartbeat is no error.
DELETE FROM heartbeats AS h
USING unnest(:run::bigint[], :step::bigint[]) AS p (run, step)
WHERE h.run = p.run AND h.step = p.step;
