-- name: standings
-- Where runs stand, read in the transaction that writes: a plan that was decided on another version,
-- or in another epoch, is stale and writes nothing.
SELECT key, version, epoch, owner, kind, status, parent, parent_step
FROM runs WHERE key IN (SELECT value FROM json_each(:keys));

-- name: advance_run
-- The head alone, if the fence holds and users go on seeing the same word for the run: the indexes on
-- status and owner are not touched. A single task has its step in the same row.
UPDATE runs
SET state = :state, seq = :seq, in_flight = :in_flight, started_at = :started_at,
    ended_at = :ended_at, deadline_at = :deadline_at, driven = :driven, held = :held,
    outcome = :outcome, ending = :ending, still_since = :still_since,
    stood_still = :stood_still, version = version + 1
WHERE key = :key AND version = :version AND (:epoch IS NULL OR epoch = :epoch)
  AND status = :state AND kind <> 'task';

-- name: restate_run
-- The head, when users see another word for it; the index on the owner is not touched.
UPDATE runs
SET state = :state, seq = :seq, in_flight = :in_flight, started_at = :started_at,
    ended_at = :ended_at, deadline_at = :deadline_at, driven = :driven, held = :held,
    outcome = :outcome, ending = :ending, still_since = :still_since,
    stood_still = :stood_still, version = version + 1, status = :status
WHERE key = :key AND version = :version;

-- name: turn_run
-- The head, when another worker drives it from now on, or nobody.
UPDATE runs
SET state = :state, seq = :seq, in_flight = :in_flight, started_at = :started_at,
    ended_at = :ended_at, deadline_at = :deadline_at, driven = :driven, held = :held,
    outcome = :outcome, ending = :ending, still_since = :still_since,
    stood_still = :stood_still, version = version + 1, status = :status, owner = :owner, epoch = :epoch
WHERE key = :key AND version = :version;

-- name: restate_task
-- The same of a single task, with its step.
UPDATE runs
SET state = :state, seq = :seq, in_flight = :in_flight, started_at = :started_at,
    ended_at = :ended_at, deadline_at = :deadline_at, driven = :driven, held = :held,
    outcome = :outcome, ending = :ending, still_since = :still_since,
    stood_still = :stood_still, version = version + 1, status = :status, task_attempt = :attempt,
    task_failures = :failures, task_crashes = :crashes, task_ready_at = :ready_at,
    task_since = :since, task_started_at = :task_started_at, task_ended_at = :task_ended_at,
    task_worker = :worker, task_outcome = :task_outcome, task_passed = :passed
WHERE key = :key AND version = :version;

-- name: turn_task
-- The same, when another worker drives it from now on, or nobody.
UPDATE runs
SET state = :state, seq = :seq, in_flight = :in_flight, started_at = :started_at,
    ended_at = :ended_at, deadline_at = :deadline_at, driven = :driven, held = :held,
    outcome = :outcome, ending = :ending, still_since = :still_since,
    stood_still = :stood_still, version = version + 1, status = :status, task_attempt = :attempt,
    task_failures = :failures, task_crashes = :crashes, task_ready_at = :ready_at,
    task_since = :since, task_started_at = :task_started_at, task_ended_at = :task_ended_at,
    task_worker = :worker, task_outcome = :task_outcome, task_passed = :passed,
    owner = :owner, epoch = :epoch
WHERE key = :key AND version = :version;

-- name: move_entries
-- The entries of runs lie where their owner looks for them, but for those where everybody does.
UPDATE queue SET holder = :holder
WHERE run IN (SELECT value FROM json_each(:keys)) AND holder NOT IN (:holder, -1);

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
-- A line that is there already stays.
INSERT OR IGNORE INTO queue (holder, type, rank, ready_at, run, step)
VALUES (:holder, :type, -:priority, :ready_at, :run, :step);

-- name: dequeue
-- Exactly this line; one that is gone already is no error.
DELETE FROM queue
WHERE holder = :holder AND type = :type AND rank = -:priority AND ready_at = :ready_at
  AND run = :run AND step = :step;

-- name: wake_by_id
-- Asks whoever drives child runs to look at them; the same line always, so that wishes don't pile up.
INSERT OR IGNORE INTO queue (holder, type, rank, ready_at, run, step)
SELECT coalesce(owner, 0), '', -priority, 0, key, -1
FROM runs WHERE id IN (SELECT value FROM json_each(:ids));

-- name: wake_waiting
-- Asks all unfinished runs that wait for this one to look again.
INSERT OR IGNORE INTO queue (holder, type, rank, ready_at, run, step)
SELECT coalesce(r.owner, 0), '', -r.priority, 0, r.key, -1
FROM waits AS w JOIN runs AS r ON r.key = w.run
WHERE w.awaited = (SELECT id FROM runs WHERE key = :key) AND r.ended_at IS NULL;

-- name: wake_run
-- Asks whoever drives a run, or takes it on next, to look at a step of it, or at the whole.
INSERT OR IGNORE INTO queue (holder, type, rank, ready_at, run, step)
SELECT coalesce(owner, 0), '', -priority, 0, key, :step FROM runs WHERE key = :key;
