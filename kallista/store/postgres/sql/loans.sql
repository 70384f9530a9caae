-- name: wish
-- A worker asks the one that drives the run for a step; what it took the place of is kept.
INSERT INTO loans (run, step, worker, stop, lost, type, rank, ready_at)
SELECT run, step, worker, false, false, type, rank, ready_at
FROM unnest(
    :run::bigint[], :step::bigint[], :worker::bigint[], :type::text[], :rank::bigint[],
    :ready_at::bigint[]
) AS p (run, step, worker, type, rank, ready_at);

-- name: is_wished
-- Which workers still ask for a step, and keep asking until this is committed.
SELECT l.run, l.step, l.worker
FROM loans AS l
JOIN unnest(:run::bigint[], :step::bigint[], :worker::bigint[]) AS p (run, step, worker)
    ON l.run = p.run AND l.step = p.step AND l.worker = p.worker
WHERE l.attempt IS NULL
ORDER BY l.run, l.step
FOR UPDATE OF l;

-- name: grant
-- The attempt that the borrower is to execute.
UPDATE loans AS l SET attempt = p.attempt
FROM unnest(:attempt::bigint[], :run::bigint[], :step::bigint[]) AS p (attempt, run, step)
WHERE l.run = p.run AND l.step = p.step;

-- name: recall
-- The borrower is to stop; one without a loan is no error.
UPDATE loans AS l SET stop = true
FROM unnest(:run::bigint[], :step::bigint[]) AS p (run, step)
WHERE l.run = p.run AND l.step = p.step;

-- name: settle
-- The loan is over; one without a loan is no error.
DELETE FROM loans AS l
USING unnest(:run::bigint[], :step::bigint[]) AS p (run, step)
WHERE l.run = p.run AND l.step = p.step;

-- name: loan
-- What a borrower's report has to match, as it stays until this is committed.
SELECT worker, attempt, lost, report FROM loans
WHERE run = :run::bigint AND step = :step::bigint
FOR UPDATE;

-- name: report
-- How a borrowed attempt has ended, until the plan that folds it settles the loan.
UPDATE loans SET report = :report::text WHERE run = :run::bigint AND step = :step::bigint;

-- name: loans_of_run
-- All that is lent of a run, for the one that drives it.
SELECT run, step, worker, attempt, stop, lost, report, ready_at FROM loans WHERE run = :run::bigint
ORDER BY step;

-- name: loans_of_worker
-- All that a worker has borrowed.
SELECT run, step, worker, attempt, stop, lost, report, ready_at FROM loans WHERE worker = :worker::bigint
ORDER BY run, step;

-- name: lose_loans
-- What a dead worker was executing: whoever drives the run has to look at it.
UPDATE loans SET lost = true
WHERE worker = :worker::bigint AND attempt IS NOT NULL AND report IS NULL AND NOT lost
RETURNING run, step;

-- name: requeue_wishes
-- What a dead worker had only asked for is everybody's again.
INSERT INTO queue (holder, type, rank, ready_at, run, step)
SELECT -1, type, rank, ready_at, run, step FROM loans
WHERE worker = :worker::bigint AND attempt IS NULL
ORDER BY 1, 2, 3, 4, 5, 6
ON CONFLICT DO NOTHING;

-- name: drop_wishes
-- They lie in the queue again.
DELETE FROM loans WHERE worker = :worker::bigint AND attempt IS NULL RETURNING run, step;
