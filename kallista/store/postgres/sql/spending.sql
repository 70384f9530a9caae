-- name: insert_spent
-- A line that is there already counts once; that of a run that is gone is dropped.
INSERT INTO spending (run, step, attempt, number, unit, amount, type, at, root)
SELECT :run::bigint, :step::bigint, :attempt::bigint, :number::bigint, :unit::text,
       :amount::bigint, :type::text, :at::bigint, coalesce(q.root, q.run)
FROM requests AS q WHERE q.run = :run::bigint
ON CONFLICT DO NOTHING
RETURNING run;

-- name: add_to_budgets
-- It counts for the run and for all above it; tells where nothing is left then. What is far
-- beyond any budget is not counted exactly, for the number would become too large.
WITH RECURSIVE above (key) AS (
    SELECT :run::bigint
    UNION ALL
    SELECT q.parent FROM above AS a JOIN requests AS q ON q.run = a.key WHERE q.parent IS NOT NULL
),
held AS (
    SELECT run, unit FROM budgets
    WHERE unit = :unit::text AND run IN (SELECT key FROM above) ORDER BY run FOR UPDATE
)
UPDATE budgets AS b SET spent = least(b.spent, 8000000000000000000) + :amount::bigint
FROM held AS h WHERE b.run = h.run AND b.unit = h.unit
RETURNING b.run, b.spent >= b.most;

-- name: hold_below
-- A run with all below it that has not ended, in the order in which all writers meet runs.
WITH RECURSIVE below (key) AS (
    SELECT :run::bigint
    UNION ALL
    SELECT q.run FROM below AS b JOIN requests AS q ON q.parent = b.key
)
SELECT r.key FROM below AS b JOIN runs AS r ON r.key = b.key
WHERE r.ended_at IS NULL ORDER BY r.key FOR UPDATE OF r;

-- name: stale_below
-- What was decided so far below a run that has no budget left is stale.
UPDATE runs SET version = version + 1 WHERE key = ANY (:keys::bigint[]);

-- name: insert_budget
-- What runs may spend of a unit, with all that they start.
INSERT INTO budgets (run, unit, most, spent)
SELECT run, unit, most, 0
FROM unnest(:run::bigint[], :unit::text[], :most::bigint[]) AS p (run, unit, most);

-- name: raise_budget
-- New limits.
UPDATE budgets AS b SET most = p.most
FROM unnest(:run::bigint[], :unit::text[], :most::bigint[]) AS p (run, unit, most)
WHERE b.run = p.run AND b.unit = p.unit;

-- name: budgets_of_run
-- Its own come first, then those of the runs above it.
WITH RECURSIVE above (key, depth) AS (
    SELECT :run::bigint, 0
    UNION ALL
    SELECT q.parent, a.depth + 1
    FROM above AS a JOIN requests AS q ON q.run = a.key WHERE q.parent IS NOT NULL
)
SELECT q.id, b.unit, b.spent, b.most
FROM above AS a JOIN budgets AS b ON b.run = a.key JOIN requests AS q ON q.run = a.key
ORDER BY a.depth, b.unit;

-- name: spent_below
-- What a run has spent with all below it.
WITH RECURSIVE below (key) AS (
    SELECT :run::bigint
    UNION ALL
    SELECT q.run FROM below AS b JOIN requests AS q ON q.parent = b.key
)
SELECT '', s.unit, sum(s.amount / 1000000000), sum(s.amount % 1000000000)
FROM below AS b JOIN spending AS s ON s.run = b.key
GROUP BY s.unit ORDER BY s.unit;

-- name: spending_by_run
-- Sums by the run at the top of the tree. Whoever asks reads what was spent in that time.
SELECT coalesce(t.id, r.id), s.unit, sum(s.amount / 1000000000), sum(s.amount % 1000000000)
FROM spending AS s JOIN requests AS r ON r.run = s.run LEFT JOIN requests AS t ON t.run = s.root
WHERE s.at >= coalesce(:since::bigint, 0) AND s.at < coalesce(:until::bigint, 9223372036854775807)
  AND (:unit::text IS NULL OR s.unit = :unit::text)
GROUP BY 1, 2 ORDER BY 1, 2;

-- name: spending_by_type
-- Sums by task type. Whoever asks reads what was spent in that time.
SELECT s.type, s.unit, sum(s.amount / 1000000000), sum(s.amount % 1000000000)
FROM spending AS s
WHERE s.at >= coalesce(:since::bigint, 0) AND s.at < coalesce(:until::bigint, 9223372036854775807)
  AND (:unit::text IS NULL OR s.unit = :unit::text)
GROUP BY 1, 2 ORDER BY 1, 2;

-- name: spending_by_tag
-- Sums by the tags of the run at the top of the tree. Whoever asks reads what was spent in that time.
SELECT g.tag, s.unit, sum(s.amount / 1000000000), sum(s.amount % 1000000000)
FROM spending AS s JOIN requests AS r ON r.run = s.run LEFT JOIN requests AS t ON t.run = s.root
JOIN run_tags AS g ON g.run = coalesce(t.run, r.run)
WHERE s.at >= coalesce(:since::bigint, 0) AND s.at < coalesce(:until::bigint, 9223372036854775807)
  AND (:unit::text IS NULL OR s.unit = :unit::text)
GROUP BY 1, 2 ORDER BY 1, 2;

-- name: spending_by_unit
-- Sums of each unit. Whoever asks reads what was spent in that time.
SELECT s.unit, s.unit, sum(s.amount / 1000000000), sum(s.amount % 1000000000)
FROM spending AS s
WHERE s.at >= coalesce(:since::bigint, 0) AND s.at < coalesce(:until::bigint, 9223372036854775807)
  AND (:unit::text IS NULL OR s.unit = :unit::text)
GROUP BY 1, 2 ORDER BY 1, 2;
