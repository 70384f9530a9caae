-- name: insert_spent
-- A line that is there already counts once; that of a run that is gone is dropped.
INSERT OR IGNORE INTO spending (run, step, attempt, number, unit, amount, type, at, root)
SELECT :run, :step, :attempt, :number, :unit, :amount, :type, :at, coalesce(root, key)
FROM runs WHERE key = :run;

-- name: add_to_budgets
-- It counts for the run and for all above it; tells where nothing is left then. What is far
-- beyond any budget is not counted exactly, for the number would become too large.
WITH RECURSIVE above (key) AS (
    SELECT :run
    UNION ALL
    SELECT r.parent FROM above JOIN runs AS r ON r.key = above.key WHERE r.parent IS NOT NULL
)
UPDATE budgets SET spent = min(spent, 8000000000000000000) + :amount
WHERE unit = :unit AND run IN (SELECT key FROM above)
RETURNING run, spent >= most;

-- name: stale_below
-- What was decided so far below a run that has no budget left is stale.
WITH RECURSIVE below (key) AS (
    SELECT :run
    UNION ALL
    SELECT r.key FROM below CROSS JOIN runs AS r ON r.parent = below.key
)
UPDATE runs SET version = version + 1
WHERE key IN (SELECT key FROM below) AND ended_at IS NULL
RETURNING key;

-- name: insert_budget
-- What a run may spend of a unit, with all that it starts.
INSERT INTO budgets (run, unit, most, spent) VALUES (:run, :unit, :most, 0);

-- name: raise_budget
-- A new limit.
UPDATE budgets SET most = :most WHERE run = :run AND unit = :unit;

-- name: budgets_of_run
-- Its own come first, then those of the runs above it.
WITH RECURSIVE above (key, depth) AS (
    SELECT :run, 0
    UNION ALL
    SELECT r.parent, above.depth + 1
    FROM above JOIN runs AS r ON r.key = above.key WHERE r.parent IS NOT NULL
)
SELECT r.id, b.unit, b.spent, b.most
FROM above CROSS JOIN budgets AS b ON b.run = above.key JOIN runs AS r ON r.key = above.key
ORDER BY above.depth, b.unit;

-- name: spent_below
-- What a run has spent with all below it.
WITH RECURSIVE below (key) AS (
    SELECT :run
    UNION ALL
    SELECT r.key FROM below CROSS JOIN runs AS r ON r.parent = below.key
)
SELECT '', s.unit, sum(s.amount / 1000000000), sum(s.amount % 1000000000)
FROM below CROSS JOIN spending AS s ON s.run = below.key
GROUP BY s.unit ORDER BY s.unit;

-- name: spending_by_run
-- Sums by the run at the top of the tree. Whoever asks reads what was spent in that time.
SELECT coalesce(t.id, r.id) AS id, s.unit, sum(s.amount / 1000000000), sum(s.amount % 1000000000)
FROM spending AS s JOIN runs AS r ON r.key = s.run LEFT JOIN runs AS t ON t.key = s.root
WHERE s.at >= coalesce(:since, 0) AND s.at < coalesce(:until, 9223372036854775807)
  AND (:unit IS NULL OR s.unit = :unit)
GROUP BY 1, 2 ORDER BY 1, 2;

-- name: spending_by_type
-- Sums by task type. Whoever asks reads what was spent in that time.
SELECT s.type, s.unit, sum(s.amount / 1000000000), sum(s.amount % 1000000000)
FROM spending AS s
WHERE s.at >= coalesce(:since, 0) AND s.at < coalesce(:until, 9223372036854775807)
  AND (:unit IS NULL OR s.unit = :unit)
GROUP BY 1, 2 ORDER BY 1, 2;

-- name: spending_by_tag
-- Sums by the tags of the run at the top of the tree. Whoever asks reads what was spent in that time.
SELECT json_each.value, s.unit, sum(s.amount / 1000000000), sum(s.amount % 1000000000)
FROM spending AS s JOIN runs AS r ON r.key = s.run LEFT JOIN runs AS t ON t.key = s.root
JOIN requests AS q ON q.run = coalesce(t.key, r.key)
CROSS JOIN json_each(q.tags)
WHERE s.at >= coalesce(:since, 0) AND s.at < coalesce(:until, 9223372036854775807)
  AND (:unit IS NULL OR s.unit = :unit)
GROUP BY 1, 2 ORDER BY 1, 2;

-- name: spending_by_unit
-- Sums of each unit. Whoever asks reads what was spent in that time.
SELECT s.unit, s.unit, sum(s.amount / 1000000000), sum(s.amount % 1000000000)
FROM spending AS s
WHERE s.at >= coalesce(:since, 0) AND s.at < coalesce(:until, 9223372036854775807)
  AND (:unit IS NULL OR s.unit = :unit)
GROUP BY 1, 2 ORDER BY 1, 2;
