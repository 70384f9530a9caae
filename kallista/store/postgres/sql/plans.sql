-- name: advance_run
-- The fence: a plan that was decided on an older version, or in an older epoch, changes no row, nor
-- does one that hands its run to a worker that is gone. Where fewer hold than what is to follow relies
-- on, the transaction fails. A single task is called by its step's word.
WITH living AS MATERIALIZED (
    SELECT key FROM workers WHERE key = ANY (:owner::bigint[]) ORDER BY key FOR KEY SHARE
),
advanced AS (
    UPDATE runs AS r
    SET state = p.state, seq = p.seq, in_flight = p.in_flight, started_at = p.started_at,
        ended_at = p.ended_at, deadline_at = p.deadline_at, driven = p.driven, held = p.held,
        outcome = p.outcome, ending = p.ending, still_since = p.still_since,
        stood_still = p.stood_still, version = p.next_version,
        owner = CASE WHEN p.new_epoch IS NULL THEN r.owner ELSE p.owner END,
        epoch = coalesce(p.new_epoch, r.epoch),
        status = CASE WHEN r.kind = 'task' THEN coalesce(p.status, r.status) ELSE p.state END,
        task_attempt = CASE WHEN r.kind = 'task' AND p.status IS NOT NULL
            THEN p.attempt ELSE r.task_attempt END,
        task_failures = CASE WHEN r.kind = 'task' AND p.status IS NOT NULL
            THEN p.failures ELSE r.task_failures END,
        task_crashes = CASE WHEN r.kind = 'task' AND p.status IS NOT NULL
            THEN p.crashes ELSE r.task_crashes END,
        task_ready_at = CASE WHEN r.kind = 'task' AND p.status IS NOT NULL
            THEN p.ready_at ELSE r.task_ready_at END,
        task_since = CASE WHEN r.kind = 'task' AND p.status IS NOT NULL
            THEN p.since ELSE r.task_since END,
        task_started_at = CASE WHEN r.kind = 'task' AND p.status IS NOT NULL
            THEN p.task_started_at ELSE r.task_started_at END,
        task_ended_at = CASE WHEN r.kind = 'task' AND p.status IS NOT NULL
            THEN p.task_ended_at ELSE r.task_ended_at END,
        task_worker = CASE WHEN r.kind = 'task' AND p.status IS NOT NULL
            THEN p.worker ELSE r.task_worker END,
        task_outcome = CASE WHEN r.kind = 'task' AND p.status IS NOT NULL
            THEN p.task_outcome ELSE r.task_outcome END,
        task_passed = CASE WHEN r.kind = 'task' AND p.status IS NOT NULL
            THEN p.passed ELSE r.task_passed END
    FROM (
        SELECT
            unnest(:owner::bigint[]) AS owner, unnest(:state::text[]) AS state,
            unnest(:seq::bigint[]) AS seq, unnest(:in_flight::bigint[]) AS in_flight,
            unnest(:started_at::bigint[]) AS started_at, unnest(:ended_at::bigint[]) AS ended_at,
            unnest(:deadline_at::bigint[]) AS deadline_at, unnest(:driven::bigint[]) AS driven,
            unnest(:held::boolean[]) AS held, unnest(:outcome::bigint[]) AS outcome,
            unnest(:ending::text[]) AS ending, unnest(:still_since::bigint[]) AS still_since,
            unnest(:stood_still::bigint[]) AS stood_still,
            unnest(:key::bigint[]) AS key, unnest(:version::bigint[]) AS version,
            unnest(:epoch::bigint[]) AS epoch, unnest(:next_version::bigint[]) AS next_version,
            unnest(:new_epoch::bigint[]) AS new_epoch, unnest(:status::text[]) AS status,
            unnest(:attempt::bigint[]) AS attempt, unnest(:failures::bigint[]) AS failures,
            unnest(:crashes::bigint[]) AS crashes, unnest(:ready_at::bigint[]) AS ready_at,
            unnest(:since::bigint[]) AS since,
            unnest(:task_started_at::bigint[]) AS task_started_at,
            unnest(:task_ended_at::bigint[]) AS task_ended_at, unnest(:worker::bigint[]) AS worker,
            unnest(:task_outcome::bigint[]) AS task_outcome, unnest(:passed::boolean[]) AS passed
    ) AS p
    WHERE r.key = p.key AND r.version = p.version AND (p.epoch IS NULL OR r.epoch = p.epoch)
      AND (p.owner IS NULL OR p.owner IN (SELECT key FROM living))
    RETURNING r.key
)
SELECT array_agg(key),
       CASE WHEN count(*) < :relied_on::bigint THEN ('stale plans but ' || count(*))::integer END
FROM advanced;

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
SELECT r.key, q.id, r.version, r.epoch, r.owner, w.name
FROM runs AS r JOIN requests AS q ON q.run = r.key LEFT JOIN workers AS w ON w.key = r.owner
WHERE r.key = ANY (:keys::bigint[]);

-- name: living
-- Who of these counts as alive; nobody can be taken for dead until this is committed.
SELECT key FROM workers WHERE key = ANY (:keys::bigint[]) ORDER BY key FOR KEY SHARE;

-- name: insert_event
-- History only grows; a seq that is taken would be a broken fence and fails.
INSERT INTO events (run, seq, at, kind, step, attempt, data)
SELECT
    unnest(:run::bigint[]), unnest(:seq::bigint[]), unnest(:at::bigint[]), unnest(:kind::text[]),
    unnest(:step::bigint[]), unnest(:attempt::bigint[]), unnest(:data::text[]);

-- name: put_step
-- The newest state of a step replaces the one before. That of a single task stands in `runs`.
INSERT INTO steps (
    run, step, status, attempt, failures, crashes, ready_at, since, started_at, ended_at, worker,
    outcome, passed
)
SELECT * FROM (
    SELECT
        unnest(:run::bigint[]) AS run, unnest(:step::bigint[]) AS step,
        unnest(:status::text[]) AS status, unnest(:attempt::bigint[]) AS attempt,
        unnest(:failures::bigint[]) AS failures, unnest(:crashes::bigint[]) AS crashes,
        unnest(:ready_at::bigint[]) AS ready_at, unnest(:since::bigint[]) AS since,
        unnest(:started_at::bigint[]) AS started_at, unnest(:ended_at::bigint[]) AS ended_at,
        unnest(:worker::bigint[]) AS worker, unnest(:outcome::bigint[]) AS outcome,
        unnest(:passed::boolean[]) AS passed
) AS p
WHERE p.step > 0 OR (SELECT kind FROM runs WHERE key = p.run) <> 'task'
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
FROM (
    SELECT
        unnest(:run::bigint[]) AS run, unnest(:type::text[]) AS type,
        unnest(:priority::bigint[]) AS priority, unnest(:ready_at::bigint[]) AS ready_at,
        unnest(:step::bigint[]) AS step, unnest(:shared::boolean[]) AS shared
) AS p
JOIN runs AS r ON r.key = p.run
ORDER BY 1, 2, 3, 4, 5, 6
ON CONFLICT DO NOTHING;

-- name: dequeue
-- Exactly this line; one that is gone already is no error.
DELETE FROM queue AS q
USING (
    SELECT
        unnest(:run::bigint[]) AS run, unnest(:type::text[]) AS type,
        unnest(:priority::bigint[]) AS priority, unnest(:ready_at::bigint[]) AS ready_at,
        unnest(:step::bigint[]) AS step, unnest(:shared::boolean[]) AS shared
) AS p
JOIN runs AS r ON r.key = p.run
WHERE q.holder = CASE WHEN p.shared AND r.kind = 'process' THEN -1 ELSE coalesce(r.owner, 0) END
  AND q.type = p.type AND q.rank = -p.priority AND q.ready_at = p.ready_at AND q.run = p.run
  AND q.step = p.step;

-- name: wake_by_id
-- Asks whoever drives a child run to look at it; always the same line, so that wishes don't pile up.
-- As in all that wakes, a line that is there is kept until this is committed: a claim that took it now
-- would make its worker look before there is anything to see, and nobody would look again.
INSERT INTO queue (holder, type, rank, ready_at, run, step)
SELECT coalesce(r.owner, 0), '', -q.priority, 0, r.key, -1
FROM requests AS q JOIN runs AS r ON r.key = q.run
WHERE q.id = ANY (:ids::text[])
ORDER BY 5
ON CONFLICT ON CONSTRAINT queue_by_service DO UPDATE SET step = excluded.step;

-- name: wake_parent
-- Asks whoever drives the parent to look at the step that started this run.
INSERT INTO queue (holder, type, rank, ready_at, run, step)
SELECT DISTINCT coalesce(r.owner, 0), '', -p.priority, 0, r.key, q.parent_step
FROM requests AS q JOIN requests AS p ON p.run = q.parent JOIN runs AS r ON r.key = p.run
WHERE q.run = ANY (:keys::bigint[])
ORDER BY 5, 6
ON CONFLICT ON CONSTRAINT queue_by_service DO UPDATE SET step = excluded.step;

-- name: keep_waits
-- Whoever is being created to wait for a run that ends is seen by that, or sees that it has ended: one
-- of the two is committed before the other goes on.
SELECT pg_advisory_xact_lock_shared(1262570583);

-- name: wake_waiting
-- Asks all unfinished runs that wait for one of these to look again.
INSERT INTO queue (holder, type, rank, ready_at, run, step)
SELECT DISTINCT coalesce(r.owner, 0), '', -q.priority, 0, r.key, -1
FROM requests AS a
JOIN waits AS w ON w.awaited = a.id
JOIN requests AS q ON q.run = w.run
JOIN runs AS r ON r.key = w.run
WHERE a.run = ANY (:keys::bigint[]) AND r.ended_at IS NULL
ORDER BY 5
ON CONFLICT ON CONSTRAINT queue_by_service DO UPDATE SET step = excluded.step;

-- name: wake_owner
-- Tells the worker that drives a run of a command from elsewhere; without one there is nobody to tell.
INSERT INTO queue (holder, type, rank, ready_at, run, step)
SELECT r.owner, '', -q.priority, 0, r.key, -1 FROM runs AS r JOIN requests AS q ON q.run = r.key
WHERE r.key = ANY (:keys::bigint[]) AND r.owner IS NOT NULL
ORDER BY 5
ON CONFLICT ON CONSTRAINT queue_by_service DO UPDATE SET step = excluded.step;

-- name: wake_run
-- Asks whoever drives a run, or takes it on next, to look at a step of it, or at the whole.
INSERT INTO queue (holder, type, rank, ready_at, run, step)
SELECT DISTINCT coalesce(r.owner, 0), '', -q.priority, 0, r.key, p.step
FROM unnest(:step::bigint[], :key::bigint[]) AS p (step, key)
JOIN runs AS r ON r.key = p.key
JOIN requests AS q ON q.run = p.key
ORDER BY 5, 6
ON CONFLICT ON CONSTRAINT queue_by_service DO UPDATE SET step = excluded.step;
