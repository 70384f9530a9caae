-- name: wish
-- A worker asks the one that drives the run for a step; what it took the place of is kept.
INSERT INTO loans (run, step, worker, stop, lost, type, rank, ready_at)
VALUES (:run, :step, :worker, 0, 0, :type, :rank, :ready_at);

-- name: is_wished
-- Whether a worker still asks for a step; only then it can be granted.
SELECT 1 FROM loans
WHERE run = :run AND step = :step AND worker = :worker AND attempt IS NULL;

-- name: grant
-- The attempt that the borrower is to execute.
UPDATE loans SET attempt = :attempt WHERE run = :run AND step = :step;

-- name: recall
-- The borrower is to stop; one without a loan is no error.
UPDATE loans SET stop = 1 WHERE run = :run AND step = :step;

-- name: settle
-- The loan is over; one without a loan is no error.
DELETE FROM loans WHERE run = :run AND step = :step;

-- name: loan
-- What a borrower's report has to match.
SELECT worker, attempt, lost, report FROM loans WHERE run = :run AND step = :step;

-- name: report
-- How a borrowed attempt has ended, until the plan that folds it settles the loan.
UPDATE loans SET report = :report WHERE run = :run AND step = :step;

-- name: loans_of_run
-- All that is lent of a run, for the one that drives it.
SELECT run, step, worker, attempt, stop, lost, report, ready_at FROM loans WHERE run = :run ORDER BY step;

-- name: loans_of_worker
-- All that a worker has borrowed.
SELECT run, step, worker, attempt, stop, lost, report, ready_at FROM loans WHERE worker = :worker
ORDER BY run, step;

-- name: lose_loans
-- What a dead worker was executing: whoever drives the run has to look at it.
UPDATE loans SET lost = 1
WHERE worker = :worker AND attempt IS NOT NULL AND report IS NULL AND lost = 0
RETURNING run, step;

-- name: requeue_wishes
-- What a dead worker had only asked for is everybody's again.
INSERT OR IGNORE INTO queue (holder, type, rank, ready_at, run, step)
SELECT -1, type, rank, ready_at, run, step FROM loans
WHERE worker = :worker AND attempt IS NULL;

-- name: drop_wishes
-- They lie in the queue again.
DELETE FROM loans WHERE worker = :worker AND attempt IS NULL RETURNING run, step;
