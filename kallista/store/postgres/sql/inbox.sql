-- name: put_signal
-- A new signal, or the step that has got it.
INSERT INTO signals (run, seq, name, id, digest, step)
SELECT
    unnest(:run::bigint[]), unnest(:seq::bigint[]), unnest(:name::text[]), unnest(:id::text[]),
    unnest(:digest::text[]), unnest(:step::bigint[])
ON CONFLICT (run, seq) DO UPDATE SET step = excluded.step;

-- name: put_question
-- A step waits from now on.
INSERT INTO questions (run, step, seq, at, approval)
SELECT
    unnest(:run::bigint[]), unnest(:step::bigint[]), unnest(:seq::bigint[]), unnest(:at::bigint[]),
    unnest(:approval::boolean[])
ON CONFLICT (run, step) DO UPDATE
SET seq = excluded.seq, at = excluded.at, approval = excluded.approval;

-- name: close_question
-- Steps wait no more; one that did not is no error.
DELETE FROM questions AS q
USING unnest(:run::bigint[], :step::bigint[]) AS p (run, step)
WHERE q.run = p.run AND q.step = p.step;

-- name: signals_of
-- What was sent to a run; what it says only where nobody has got it.
SELECT s.seq, s.name, s.id, s.digest, s.step, e.data
FROM signals AS s
LEFT JOIN events AS e ON e.run = s.run AND e.seq = s.seq AND s.step IS NULL
WHERE s.run = :run::bigint ORDER BY s.seq;

-- name: questions_of
-- What the steps of a run wait for.
SELECT q.step, q.seq, q.at, e.data
FROM questions AS q JOIN events AS e ON e.run = q.run AND e.seq = q.seq
WHERE q.run = :run::bigint ORDER BY q.step;

-- name: open_approvals
-- What waits for a person, seeking in the index on its age.
SELECT r.key, p.id, r.kind, p.name, q.step, coalesce(s.ready_at, r.task_ready_at), q.seq, q.at,
       e.data
FROM questions AS q
JOIN runs AS r ON r.key = q.run
JOIN requests AS p ON p.run = q.run
JOIN events AS e ON e.run = q.run AND e.seq = q.seq
LEFT JOIN steps AS s ON s.run = q.run AND s.step = q.step
WHERE q.approval AND (q.at, q.run, q.step) > (:at::bigint, :run::bigint, :step::bigint)
ORDER BY q.at, q.run, q.step LIMIT :limit::bigint;

-- name: open_approvals_of_tree
-- The same of one run and those below it.
WITH RECURSIVE tree (key) AS (
    SELECT :within::bigint
    UNION ALL
    SELECT p.run FROM tree AS t JOIN requests AS p ON p.parent = t.key
)
SELECT r.key, p.id, r.kind, p.name, q.step, coalesce(s.ready_at, r.task_ready_at), q.seq, q.at,
       e.data
FROM tree AS t
JOIN questions AS q ON q.run = t.key
JOIN runs AS r ON r.key = q.run
JOIN requests AS p ON p.run = q.run
JOIN events AS e ON e.run = q.run AND e.seq = q.seq
LEFT JOIN steps AS s ON s.run = q.run AND s.step = q.step
WHERE q.approval AND (q.at, q.run, q.step) > (:at::bigint, :run::bigint, :step::bigint)
ORDER BY q.at, q.run, q.step LIMIT :limit::bigint;

-- name: delete_signals
-- What was sent to it goes with it.
DELETE FROM signals WHERE run = ANY (:runs::bigint[]);

-- name: delete_questions
-- Nobody is asked any more.
DELETE FROM questions WHERE run = ANY (:runs::bigint[]);
