-- name: advance_run
-- The fence: a plan that was decided on an older version, or in an older epoch, changes no row.
UPDATE runs
SET state = :state, seq = :seq, in_flight = :in_flight, started_at = :started_at,
    ended_at = :ended_at, deadline_at = :deadline_at, driven = :driven, held = :held,
    outcome = :outcome, version = version + 1
WHERE key = :key AND version = :version AND (:epoch IS NULL OR epoch = :epoch)
RETURNING kind, status;

-- name: set_status
-- Apart from advance_run, so that the index on it is only touched when the word changes.
UPDATE runs SET status = :status WHERE key = :key;

-- name: set_owner
-- Hands a run to a worker, or to nobody, in the epoch that the plan names.
UPDATE runs SET owner = :owner, epoch = :epoch WHERE key = :key;

-- name: move_entries
-- The entries of a run lie where its owner looks for them, but for those where everybody does.
UPDATE queue SET holder = :holder WHERE run = :run AND holder NOT IN (:holder, -1);

-- name: run_holder
-- Tells a stale fence from a run that is gone, and who drives it now.
SELECT r.id, r.version, r.epoch, r.owner, w.name
FROM runs AS r LEFT JOIN workers AS w ON w.key = r.owner
WHERE r.key = :key;

-- name: insert_event
-- History only grows; a seq that is taken would be a broken fence and fails.
INSERT INTO events (run, seq, at, kind, step, attempt, data)
VALUES (:run, :seq, :at, :kind, :step, :attempt, :data);

-- name: put_step
-- The newest state of a step replaces the one before.
INSERT OR REPLACE INTO steps (
    run, step, status, attempt, failures, crashes, ready_at, since, started_at, ended_at, worker,
    outcome, passed
) VALUES (
    :run, :step, :status, :attempt, :failures, :crashes, :ready_at, :since, :started_at,
    :ended_at, :worker, :outcome, :passed
);

-- name: enqueue
-- A line that is there already stays. It lies with the run's owner, a process's task with everybody.
INSERT OR IGNORE INTO queue (holder, type, rank, ready_at, run, step)
VALUES (
    (SELECT CASE WHEN kind = 'process' AND :type <> '' THEN -1 ELSE coalesce(owner, 0) END
     FROM runs WHERE key = :run),
    :type, -:priority, :ready_at, :run, :step
);

-- name: dequeue
-- Exactly this line; one that is gone already is no error.
DELETE FROM queue
WHERE holder = (
        SELECT CASE WHEN kind = 'process' AND :type <> '' THEN -1 ELSE coalesce(owner, 0) END
        FROM runs WHERE key = :run
    )
  AND type = :type AND rank = -:priority AND ready_at = :ready_at AND run = :run AND step = :step;

-- name: wake_by_id
-- Asks whoever drives a child run to look at it; always the same line, so that wishes don't pile up.
INSERT OR IGNORE INTO queue (holder, type, rank, ready_at, run, step)
SELECT coalesce(owner, 0), '', -priority, 0, key, -1 FROM runs WHERE id = :id;

-- name: wake_parent
-- Asks whoever drives the parent to look at the step that started this run.
INSERT OR IGNORE INTO queue (holder, type, rank, ready_at, run, step)
SELECT coalesce(p.owner, 0), '', -p.priority, 0, p.key, r.parent_step
FROM runs AS r JOIN runs AS p ON p.key = r.parent
WHERE r.key = :key;

-- name: wake_waiting
-- Asks all unfinished runs that wait for this one to look again.
INSERT OR IGNORE INTO queue (holder, type, rank, ready_at, run, step)
SELECT coalesce(r.owner, 0), '', -r.priority, 0, r.key, -1
FROM waits AS w JOIN runs AS r ON r.key = w.run
WHERE w.awaited = (SELECT id FROM runs WHERE key = :key) AND r.ended_at IS NULL;

-- name: wake_owner
-- Tells the worker that drives a run of a command from elsewhere; without one there is nobody to tell.
INSERT OR IGNORE INTO queue (holder, type, rank, ready_at, run, step)
SELECT owner, '', -priority, 0, key, -1 FROM runs WHERE key = :key AND owner IS NOT NULL;

-- name: wake_run
-- Asks whoever drives a run, or takes it on next, to look at a step of it, or at the whole.
INSERT OR IGNORE INTO queue (holder, type, rank, ready_at, run, step)
SELECT coalesce(owner, 0), '', -priority, 0, key, :step FROM runs WHERE key = :key;
