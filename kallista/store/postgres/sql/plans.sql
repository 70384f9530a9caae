-- name: advance_run
-- The fence: a plan that was decided on an older version, or in an older epoch, changes no row, nor
-- does one that hands its run to a worker that is gone. A single task is called by its step's word.
WITH living AS MATERIALIZED (
    SELECT key FROM workers WHERE key = ANY (:owner::bigint[]) ORDER BY key FOR KEY SHARE
)
UPDATE runs AS r
SET state = p.state, seq = p.seq, in_flight = p.in_flight, started_at = p.started_at,
    ended_at = p.ended_at, deadline_at = p.deadline_at, driven = p.driven, held = p.held,
    outcome = p.outcome, version = r.version + 1,
    status = CASE WHEN r.kind = 'task' THEN coalesce(p.step_status, r.status) ELSE p.state END,
    owner = CASE WHEN p.new_epoch IS NULL THEN r.owner ELSE p.owner END,
    epoch = coalesce(p.new_epoch, r.epoch)
FROM unnest(
    :owner::bigint[], :state::text[], :seq::bigint[], :in_flight::bigint[], :started_at::bigint[],
    :ended_at::bigint[], :deadline_at::bigint[], :driven::bigint[], :held::boolean[],
    :outcome::bigint[], :key::bigint[], :version::bigint[], :epoch::bigint[],
    :step_status::text[], :new_epoch::bigint[]
) AS p (
    owner, state, seq, in_flight, started_at, ended_at, deadline_at, driven, held, outcome, key,
    version, epoch, step_status, new_epoch
)
WHERE r.key = p.key AND r.version = p.version AND (p.epoch IS NULL OR r.epoch = p.epoch)
  AND (p.owner IS NULL OR p.owner IN (SELECT key FROM living))
RETURNING r.key;

-- name: move_entries
-- The entries of a run lie where its owner looks for them, but for those where everybody does.
WITH moved AS (
    DELETE FROM queue AS q
    USING unnest(:holder::bigint[], :run::bigint[]) AS p (holder, run)
    WHERE q.run = p.run AND q.holder NOT IN (p.holder, -1)
    RETURNING p.holder, q.type, q.rank, q.ready_at, q.run, q.step
)
INSERT INTO queue (holder, type, rank, ready_at, run, step)
SELECT holder, type, rank, ready_at, run, step FROM moved ORDER BY 1, 2, 3, 4, 5, 6
ON CONFLICT DO NOTHING;

-- name: run_holder
-- Tells a stale fence from a run that is gone, and who drives it now.
SELECT r.key, r.id, r.version, r.epoch, r.owner, w.name
FROM runs AS r LEFT JOIN workers AS w ON w.key = r.owner
WHERE r.key = ANY (:keys::bigint[]);

-- name: living
-- Who of these counts as alive; nobody can be taken for dead until this is committed.
SELECT key FROM workers WHERE key = ANY (:keys::bigint[]) ORDER BY key FOR KEY SHARE;

-- name: insert_event
-- History only grows; a seq that is taken would be a broken fence and fails.
INSERT INTO events (run, seq, at, kind, step, attempt, data)
SELECT * FROM unnest(
    :run::bigint[], :seq::bigint[], :at::bigint[], :kind::text[], :step::bigint[],
    :attempt::bigint[], :data::text[]
);

-- name: put_step
-- The newest state of a step replaces the one before.
INSERT INTO steps (
    run, step, status, attempt, failures, crashes, ready_at, since, started_at, ended_at, worker,
    outcome, passed
)
SELECT * FROM unnest(
    :run::bigint[], :step::bigint[], :status::text[], :attempt::bigint[], :failures::bigint[],
    :crashes::bigint[], :ready_at::bigint[], :since::bigint[], :started_at::bigint[],
    :ended_at::bigint[], :worker::bigint[], :outcome::bigint[], :passed::boolean[]
)
ON CONFLICT (run, step) DO UPDATE
SET status = excluded.status, attempt = excluded.attempt, failures = excluded.failures,
    crashes = excluded.crashes, ready_at = excluded.ready_at, since = excluded.since,
    started_at = excluded.started_at, ended_at = excluded.ended_at, worker = excluded.worker,
    outcome = excluded.outcome, passed = excluded.passed;

-- name: enqueue
-- A line that is there already stays. It lies with the run's owner, or, if it may be shared and the
-- run is a process, with everybody.
INSERT INTO queue (holder, type, rank, ready_at, run, step)
SELECT CASE WHEN p.shared AND r.kind = 'process' THEN -1 ELSE coalesce(r.owner, 0) END,
       p.type, -p.priority, p.ready_at, p.run, p.step
FROM unnest(
    :run::bigint[], :type::text[], :priority::bigint[], :ready_at::bigint[], :step::bigint[],
    :shared::boolean[]
) AS p (run, type, priority, ready_at, step, shared)
JOIN runs AS r ON r.key = p.run
ORDER BY 1, 2, 3, 4, 5, 6
ON CONFLICT DO NOTHING;

-- name: dequeue
-- Exactly this line; one that is gone already is no error.
DELETE FROM queue AS q
USING unnest(
    :run::bigint[], :type::text[], :priority::bigint[], :ready_at::bigint[], :step::bigint[],
    :shared::boolean[]
) AS p (run, type, priority, ready_at, step, shared)
JOIN runs AS r ON r.key = p.run
WHERE q.holder = CASE WHEN p.shared AND r.kind = 'process' THEN -1 ELSE coalesce(r.owner, 0) END
  AND q.type = p.type AND q.rank = -p.priority AND q.ready_at = p.ready_at AND q.run = p.run
  AND q.step = p.step;

-- name: wake_by_id
-- Asks whoever drives a child run to look at it; always the same line, so that wishes don't pile up.
INSERT INTO queue (holder, type, rank, ready_at, run, step)
SELECT coalesce(owner, 0), '', -priority, 0, key, -1 FROM runs WHERE id = ANY (:ids::text[])
ORDER BY key
ON CONFLICT DO NOTHING;

-- name: wake_parent
-- Asks whoever drives the parent to look at the step that started this run.
INSERT INTO queue (holder, type, rank, ready_at, run, step)
SELECT coalesce(p.owner, 0), '', -p.priority, 0, p.key, r.parent_step
FROM runs AS r JOIN runs AS p ON p.key = r.parent
WHERE r.key = ANY (:keys::bigint[])
ORDER BY 5, 6
ON CONFLICT DO NOTHING;

-- name: wake_waiting
-- Asks all unfinished runs that wait for one of these to look again.
INSERT INTO queue (holder, type, rank, ready_at, run, step)
SELECT coalesce(r.owner, 0), '', -r.priority, 0, r.key, -1
FROM runs AS a JOIN waits AS w ON w.awaited = a.id JOIN runs AS r ON r.key = w.run
WHERE a.key = ANY (:keys::bigint[]) AND r.ended_at IS NULL
ORDER BY r.key
ON CONFLICT DO NOTHING;

-- name: wake_owner
-- Tells the worker that drives a run of a command from elsewhere; without one there is nobody to tell.
INSERT INTO queue (holder, type, rank, ready_at, run, step)
SELECT owner, '', -priority, 0, key, -1 FROM runs
WHERE key = ANY (:keys::bigint[]) AND owner IS NOT NULL
ORDER BY key
ON CONFLICT DO NOTHING;

-- name: wake_run
-- Asks whoever drives a run, or takes it on next, to look at a step of it, or at the whole.
INSERT INTO queue (holder, type, rank, ready_at, run, step)
SELECT coalesce(r.owner, 0), '', -r.priority, 0, r.key, p.step
FROM unnest(:step::bigint[], :key::bigint[]) AS p (step, key) JOIN runs AS r ON r.key = p.key
ORDER BY r.key, p.step
ON CONFLICT DO NOTHING;
