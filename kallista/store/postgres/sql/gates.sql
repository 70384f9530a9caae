-- name: count_alone
-- Whoever counts does so alone until this is committed, so that nobody counts what others change.
SELECT pg_advisory_xact_lock(:kind::integer, 0);

-- name: passings
-- What lines have to pass that a claim has met.
SELECT g.run, g.step, g.ready_at, g.name, g.number, g.spacing
FROM unnest(:runs::bigint[], :steps::bigint[]) AS p (run, step)
JOIN gates AS g ON g.run = p.run AND g.step = p.step
ORDER BY g.run, g.step, g.name;

-- name: held_counts
-- How many attempts are counted under each name.
SELECT name, count(*) FROM gates
WHERE name = ANY (:names::text[]) AND worker IS NOT NULL
GROUP BY name;

-- name: next_of_rates
-- When the next attempt of each rate may begin.
SELECT name, next_at FROM rates WHERE name = ANY (:names::text[]);

-- name: put_rate
-- One more attempt has begun.
INSERT INTO rates (name, next_at) SELECT * FROM unnest(:name::text[], :next_at::bigint[])
ON CONFLICT (name) DO UPDATE SET next_at = excluded.next_at;

-- name: hold_gates
-- The step's attempt is counted from now on, by the worker that has claimed it.
UPDATE gates AS g SET worker = p.worker
FROM unnest(:worker::bigint[], :run::bigint[], :step::bigint[]) AS p (worker, run, step)
WHERE g.run = p.run AND g.step = p.step;

-- name: hold_line
-- A line that found no room, out of the way of claims.
INSERT INTO held_lines (name, pile, turn, rank, ready_at, run, step, type)
SELECT * FROM unnest(
    :name::text[], :pile::text[], :turn::bigint[], :rank::bigint[], :ready_at::bigint[],
    :run::bigint[], :step::bigint[], :type::text[]
);

-- name: lay_line
-- A line is due at another moment than it was.
INSERT INTO queue (holder, type, rank, ready_at, run, step)
SELECT * FROM unnest(
    :holder::bigint[], :type::text[], :rank::bigint[], :ready_at::bigint[], :run::bigint[],
    :step::bigint[]
) ORDER BY 1, 2, 3, 4, 5, 6
ON CONFLICT DO NOTHING;

-- name: insert_gate
-- What a new line has to pass.
INSERT INTO gates (run, step, ready_at, name, number, spacing)
SELECT * FROM unnest(
    :run::bigint[], :step::bigint[], :ready_at::bigint[], :name::text[], :number::bigint[],
    :spacing::bigint[]
)
ON CONFLICT (run, step, name) DO UPDATE
SET ready_at = excluded.ready_at, number = excluded.number, spacing = excluded.spacing, worker = NULL;

-- name: open_gates
-- The steps are counted no more, and nothing waits to be taken up of them: no line, wherever it lies,
-- and no wish. Tells under which names others come next, and how many: none for lines that were held
-- back.
WITH places AS MATERIALIZED (
    SELECT * FROM unnest(:run::bigint[], :step::bigint[]) AS p (run, step)
),
held AS (
    DELETE FROM held_lines AS h USING places AS p WHERE h.run = p.run AND h.step = p.step
    RETURNING h.run, h.step
),
laid AS (
    DELETE FROM queue AS q USING places AS p WHERE q.run = p.run AND q.step = p.step AND q.type <> ''
),
wished AS (
    DELETE FROM loans AS l USING places AS p
    WHERE l.run = p.run AND l.step = p.step AND l.attempt IS NULL
),
opened AS (
    DELETE FROM gates AS g USING places AS p WHERE g.run = p.run AND g.step = p.step
    RETURNING g.run, g.step, g.name, g.spacing, g.worker
)
SELECT o.name, count(*) FROM opened AS o
WHERE (o.spacing = 0 OR o.worker IS NULL)
  AND NOT EXISTS (SELECT 1 FROM held WHERE held.run = o.run AND held.step = o.step)
GROUP BY o.name;

-- name: holds_gates
-- Those steps that are counted for a worker, as they have to be before their attempts begin, and stay
-- so until this is committed.
SELECT g.run, g.step
FROM unnest(:worker::bigint[], :run::bigint[], :step::bigint[]) AS p (worker, run, step)
JOIN gates AS g ON g.run = p.run AND g.step = p.step AND g.worker = p.worker
ORDER BY g.run, g.step, g.name
FOR UPDATE OF g;

-- name: let_go
-- A dead worker executes nothing.
UPDATE gates SET worker = NULL WHERE worker = :worker::bigint
RETURNING CASE WHEN spacing = 0 THEN name END;

-- name: follow
-- Of each pile that waits under these names so many come into the queue, behind what has become due
-- meanwhile: so keys take turns. Each lies where its run's owner looks, or with everybody. Of a rate, it
-- is due when the next may begin. Piles are found by skipping from one to the next.
WITH RECURSIVE piles (name, count, pile) AS (
    SELECT n.name, n.count, (SELECT min(h.pile) FROM held_lines AS h WHERE h.name = n.name)
    FROM unnest(:names::text[], :counts::bigint[]) AS n (name, count)
    UNION ALL
    SELECT p.name, p.count,
           (SELECT min(h.pile) FROM held_lines AS h WHERE h.name = p.name AND h.pile > p.pile)
    FROM piles AS p WHERE p.pile IS NOT NULL
),
heads AS MATERIALIZED (
    SELECT p.name, h.run, h.step, h.type, h.rank, h.ready_at
    FROM piles AS p
    CROSS JOIN LATERAL (
        SELECT l.run, l.step, l.type, l.rank, l.ready_at FROM held_lines AS l
        WHERE l.name = p.name AND l.pile = p.pile
        ORDER BY l.turn, l.rank, l.ready_at, l.run, l.step LIMIT p.count
    ) AS h
    WHERE p.pile IS NOT NULL
),
gone AS (
    DELETE FROM held_lines AS l USING heads AS h WHERE l.run = h.run AND l.step = h.step
)
INSERT INTO queue (holder, type, rank, ready_at, run, step)
SELECT CASE WHEN r.kind = 'process' AND right(h.type, 1) <> '!' THEN -1 ELSE coalesce(r.owner, 0) END,
       h.type, h.rank,
       greatest(h.ready_at, :at::bigint, (SELECT next_at FROM rates WHERE name = h.name)),
       h.run, h.step
FROM heads AS h JOIN runs AS r ON r.key = h.run
ORDER BY 1, 2, 3, 4, 5, 6
ON CONFLICT DO NOTHING;

-- name: held_of_tree
-- What is held back of one tree comes into the queue as far as there is room for it, of a rate the next
-- one, for who works on nothing else: another tree's line may be next, and nobody there who would take
-- it.
WITH RECURSIVE tree (key) AS (
    SELECT :within::bigint WHERE EXISTS (SELECT 1 FROM held_lines)
    UNION ALL
    SELECT q.run FROM tree AS t JOIN requests AS q ON q.parent = t.key
),
counted (name, held) AS MATERIALIZED (
    SELECT name, count(*) FROM gates WHERE worker IS NOT NULL GROUP BY name
),
lines AS MATERIALIZED (
    SELECT h.name, h.run, h.step, g.number, g.spacing, row_number() OVER (
        PARTITION BY h.name, h.pile ORDER BY h.turn, h.rank, h.ready_at, h.run, h.step
    ) AS place
    FROM tree AS t
    JOIN held_lines AS h ON h.run = t.key
    JOIN gates AS g ON g.run = h.run AND g.step = h.step AND g.name = h.name
),
back AS (
    DELETE FROM held_lines AS l
    USING lines AS n LEFT JOIN counted AS c ON c.name = n.name
    WHERE l.run = n.run AND l.step = n.step
      AND n.place <= CASE WHEN n.spacing > 0 THEN 1 ELSE n.number - coalesce(c.held, 0) END
    RETURNING l.name, l.run, l.step, l.type, l.rank, l.ready_at
)
INSERT INTO queue (holder, type, rank, ready_at, run, step)
SELECT CASE WHEN r.kind = 'process' AND right(b.type, 1) <> '!' THEN -1 ELSE coalesce(r.owner, 0) END,
       b.type, b.rank,
       greatest(b.ready_at, :at::bigint, (SELECT next_at FROM rates WHERE name = b.name)),
       b.run, b.step
FROM back AS b JOIN runs AS r ON r.key = b.run
ORDER BY 1, 2, 3, 4, 5, 6
ON CONFLICT DO NOTHING
RETURNING run;

-- name: gates_of_run
-- What the steps of a run have to pass, or are counted under, and under what they are held back.
SELECT g.step, g.name, g.number, g.spacing, g.ready_at, g.worker, h.name IS NOT NULL
FROM gates AS g LEFT JOIN held_lines AS h ON h.run = g.run AND h.step = g.step AND h.name = g.name
WHERE g.run = :run::bigint ORDER BY g.step, g.name;

-- name: holders
-- Whose attempts are counted under a name.
SELECT q.id, g.step, g.worker FROM gates AS g JOIN requests AS q ON q.run = g.run
WHERE g.name = :name::text AND g.worker IS NOT NULL
ORDER BY g.run, g.step LIMIT :limit::bigint;

-- name: ahead
-- How many lines of the same name come before one that is held back.
SELECT count(*) FROM held_lines AS h JOIN held_lines AS o ON o.name = h.name
WHERE h.run = :run::bigint AND h.step = :step::bigint
  AND (o.turn, o.rank, o.ready_at, o.run, o.step) < (h.turn, h.rank, h.ready_at, h.run, h.step);

-- name: limits
-- The names that anything is counted under or waits for, found by skipping from one to the next; how
-- full each is, how many wait, and what one of those says that are subject to it.
WITH RECURSIVE found (name) AS (
    SELECT least((SELECT min(name) FROM gates WHERE worker IS NOT NULL AND name > :after::text),
                 (SELECT min(name) FROM held_lines WHERE name > :after::text))
    UNION ALL
    SELECT least((SELECT min(name) FROM gates WHERE worker IS NOT NULL AND name > f.name),
                 (SELECT min(name) FROM held_lines WHERE name > f.name))
    FROM found AS f WHERE f.name IS NOT NULL
)
SELECT p.name, coalesce(h.number, w.number), coalesce(h.spacing, w.spacing), h.count,
       (SELECT count(*) FROM held_lines WHERE name = p.name)
FROM (SELECT name FROM found WHERE name IS NOT NULL LIMIT :limit::bigint) AS p
CROSS JOIN LATERAL (
    SELECT count(*) AS count, max(number) AS number, max(spacing) AS spacing FROM gates
    WHERE name = p.name AND worker IS NOT NULL
) AS h
LEFT JOIN LATERAL (
    SELECT g.number, g.spacing
    FROM (SELECT run, step FROM held_lines WHERE name = p.name LIMIT 1) AS l
    JOIN gates AS g ON g.run = l.run AND g.step = l.step AND g.name = p.name
) AS w ON true
ORDER BY p.name;

-- name: held_types
-- What waits besides, held back by limits.
SELECT type, count(*) FROM held_lines GROUP BY type;

-- name: gated_steps
-- The steps of runs that are counted or wait for it; once they are over there are none.
SELECT DISTINCT run, step FROM gates WHERE run = ANY (:runs::bigint[]);
