-- name: passings
-- What lines have to pass that a claim has met.
SELECT g.run, g.step, g.ready_at, g.name, g.number, g.spacing
FROM json_each(:places)
CROSS JOIN gates AS g
    ON g.run = json_extract(value, '$[0]') AND g.step = json_extract(value, '$[1]')
ORDER BY g.run, g.step, g.name;

-- name: held_counts
-- How many attempts are counted under each name.
SELECT name, count(*) FROM gates
WHERE name IN (SELECT value FROM json_each(:names)) AND worker IS NOT NULL
GROUP BY name;

-- name: next_of_rates
-- When the next attempt of each rate may begin.
SELECT name, next_at FROM rates WHERE name IN (SELECT value FROM json_each(:names));

-- name: put_rate
-- One more attempt has begun.
INSERT OR REPLACE INTO rates (name, next_at) VALUES (:name, :next_at);

-- name: hold_gates
-- The step's attempt is counted from now on, by the worker that has claimed it.
UPDATE gates SET worker = :worker WHERE run = :run AND step = :step;

-- name: hold_line
-- A line that found no room, out of the way of claims.
INSERT INTO held_lines (name, pile, turn, rank, ready_at, run, step, type)
VALUES (:name, :pile, :turn, :rank, :ready_at, :run, :step, :type);

-- name: lay_line
-- A line is due at another moment than it was.
INSERT OR IGNORE INTO queue (holder, type, rank, ready_at, run, step)
VALUES (:holder, :type, :rank, :ready_at, :run, :step);

-- name: insert_gate
-- What a new line has to pass.
INSERT OR REPLACE INTO gates (run, step, ready_at, name, number, spacing, worker)
VALUES (:run, :step, :ready_at, :name, :number, :spacing, NULL);

-- name: open_gates
-- The step is counted no more.
DELETE FROM gates WHERE run = :run AND step = :step RETURNING name, spacing, worker;

-- name: drop_held_line
-- Its line waits no more; whether it did decides who comes next.
DELETE FROM held_lines WHERE run = :run AND step = :step RETURNING name;

-- name: drop_laid_line
-- The same where it lies in the queue, whenever it is due.
DELETE FROM queue WHERE run = :run AND step = :step AND type <> '';

-- name: drop_wish
-- The same where a worker has asked for it.
DELETE FROM loans WHERE run = :run AND step = :step AND attempt IS NULL;

-- name: holds_gates
-- Whether a step is counted for a worker, as it has to be before its attempt begins.
SELECT coalesce(min(worker IS :worker), 0) FROM gates WHERE run = :run AND step = :step;

-- name: let_go
-- A dead worker executes nothing.
UPDATE gates SET worker = NULL WHERE worker = :worker RETURNING name, spacing;

-- name: next_pile
-- Which piles wait under a name is found by skipping from one to the next, however high they are.
SELECT min(pile) FROM held_lines WHERE name = :name AND pile > :after;

-- name: head_of_pile
-- Who come next; the order was fixed when each was held back.
SELECT run, step, type, rank, ready_at FROM held_lines WHERE name = :name AND pile = :pile
ORDER BY turn, rank, ready_at, run, step LIMIT :count;

-- name: follow
-- It comes behind what has become due meanwhile: so keys take turns. It lies where its run's owner
-- looks, or with everybody. Of a rate, it is due when the next may begin.
INSERT OR IGNORE INTO queue (holder, type, rank, ready_at, run, step)
SELECT CASE WHEN kind = 'process' AND substr(:type, -1) <> '!' THEN -1 ELSE coalesce(owner, 0) END,
       :type, :rank,
       max(:ready_at, :at, coalesce((SELECT next_at FROM rates WHERE name = :name), 0)), key, :step
FROM runs WHERE key = :run;

-- name: held_of_tree
-- What is held back of one tree, as far as there is room for it, for who works on nothing else; of a
-- rate the next one.
WITH RECURSIVE found (key) AS (
    SELECT :within WHERE EXISTS (SELECT 1 FROM held_lines)
    UNION ALL
    SELECT r.key FROM found AS d CROSS JOIN runs AS r ON r.parent = d.key
)
SELECT x.name, x.run, x.step, x.type, x.rank, x.ready_at
FROM (
    SELECT h.*, g.number, g.spacing, row_number() OVER (
        PARTITION BY h.name, h.pile ORDER BY h.turn, h.rank, h.ready_at, h.run, h.step
    ) AS place
    FROM found AS d
    CROSS JOIN held_lines AS h ON h.run = d.key
    CROSS JOIN gates AS g ON g.run = h.run AND g.step = h.step AND g.name = h.name
) AS x
WHERE CASE
    WHEN x.place = 1 AND x.spacing > 0 THEN true
    WHEN x.place > x.number OR x.spacing > 0 THEN false
    ELSE x.place + (SELECT count(*) FROM gates WHERE name = x.name AND worker IS NOT NULL) <= x.number
END;

-- name: gates_of_run
-- What the steps of a run have to pass, or are counted under, and under what they are held back.
SELECT g.step, g.name, g.number, g.spacing, g.ready_at, g.worker, h.name IS NOT NULL
FROM gates AS g LEFT JOIN held_lines AS h ON h.run = g.run AND h.step = g.step AND h.name = g.name
WHERE g.run = :run ORDER BY g.step, g.name;

-- name: holders
-- Whose attempts are counted under a name.
SELECT r.id, g.step, g.worker FROM gates AS g JOIN runs AS r ON r.key = g.run
WHERE g.name = :name AND g.worker IS NOT NULL
ORDER BY g.run, g.step LIMIT :limit;

-- name: ahead
-- How many lines of the same name come before one that is held back.
SELECT count(*) FROM held_lines AS h CROSS JOIN held_lines AS o ON o.name = h.name
WHERE h.run = :run AND h.step = :step
  AND (o.turn, o.rank, o.ready_at, o.run, o.step) < (h.turn, h.rank, h.ready_at, h.run, h.step);

-- name: next_limit
-- The names that anything is counted under or waits for, one after the other.
SELECT min(name) FROM (
    SELECT min(name) AS name FROM gates WHERE worker IS NOT NULL AND name > :after
    UNION ALL
    SELECT min(name) FROM held_lines WHERE name > :after
);

-- name: limit_figures
-- How full a limit is, and how many wait for it.
SELECT (SELECT count(*) FROM gates WHERE name = :name AND worker IS NOT NULL),
       (SELECT count(*) FROM held_lines WHERE name = :name);

-- name: limit_of_held
-- What those say of a limit that are counted under it.
SELECT max(number), max(spacing) FROM gates WHERE name = :name AND worker IS NOT NULL;

-- name: limit_of_waiting
-- The same of one that waits for it.
SELECT number, spacing FROM gates
WHERE name = :name
  AND (run, step) = (SELECT run, step FROM held_lines WHERE name = :name LIMIT 1);

-- name: held_types
-- What waits besides, held back by limits.
SELECT type, count(*) FROM held_lines GROUP BY type;

-- name: gated_steps
-- The steps of a run that are counted or wait for it; once it is over there are none.
SELECT DISTINCT step FROM gates WHERE run = :run;
