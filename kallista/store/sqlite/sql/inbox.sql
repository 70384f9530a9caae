-- name: put_signal
-- A new signal, or the step that has got it.
INSERT OR REPLACE INTO signals (run, seq, name, id, digest, step)
VALUES (:run, :seq, :name, :id, :digest, :step);

-- name: put_question
-- A step waits from now on.
INSERT OR REPLACE INTO questions (run, step, seq, at, approval)
VALUES (:run, :step, :seq, :at, :approval);

-- name: close_question
-- A step waits no more; one that did not is no error.
DELETE FROM questions WHERE run = :run AND step = :step;

-- name: signals_of
-- What was sent to a run; what it says only where nobody has got it.
SELECT s.seq, s.name, s.id, s.digest, s.step, e.data
FROM signals AS s
LEFT JOIN events AS e ON e.run = s.run AND e.seq = s.seq AND s.step IS NULL
WHERE s.run = :run ORDER BY s.seq;

-- name: questions_of
-- What the steps of a run wait for.
SELECT q.step, q.seq, q.at, e.data
FROM questions AS q JOIN events AS e ON e.run = q.run AND e.seq = q.seq
WHERE q.run = :run ORDER BY q.step;

-- name: open_approvals
-- What waits for a person, seeking in the index on its age.
SELECT r.key, r.id, r.kind, r.name, q.step, coalesce(s.ready_at, r.task_ready_at), q.seq, q.at,
       e.data
FROM questions AS q
JOIN runs AS r ON r.key = q.run
JOIN events AS e ON e.run = q.run AND e.seq = q.seq
LEFT JOIN steps AS s ON s.run = q.run AND s.step = q.step
WHERE q.approval AND (q.at, q.run, q.step) > (:at, :run, :step)
ORDER BY q.at, q.run, q.step LIMIT :limit;

-- name: open_approvals_of_tree
-- The same of one run and those below it.
WITH RECURSIVE tree (key) AS (
    VALUES (:within)
    UNION ALL
    SELECT r.key FROM tree AS t JOIN runs AS r ON r.parent = t.key
)
SELECT r.key, r.id, r.kind, r.name, q.step, coalesce(s.ready_at, r.task_ready_at), q.seq, q.at,
       e.data
FROM tree AS t
CROSS JOIN questions AS q ON q.run = t.key
JOIN runs AS r ON r.key = q.run
JOIN events AS e ON e.run = q.run AND e.seq = q.seq
LEFT JOIN steps AS s ON s.run = q.run AND s.step = q.step
WHERE q.approval AND (q.at, q.run, q.step) > (:at, :run, :step)
ORDER BY q.at, q.run, q.step LIMIT :limit;

-- name: delete_signals
-- What was sent to it goes with it.
DELETE FROM signals WHERE run = :run;

-- name: delete_questions
-- Nobody is asked any more.
DELETE FROM questions WHERE run = :run;
