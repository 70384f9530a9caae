-- name: put_failure
-- What a step has failed by; a step fails again only after it was reset.
INSERT INTO failures (run, step, short, error, type, seq, at, root)
SELECT p.run, p.step, p.short, p.error, p.type, p.seq, p.at, coalesce(q.root, q.run)
FROM (
    SELECT
        unnest(:run::bigint[]) AS run, unnest(:step::bigint[]) AS step,
        unnest(:short::text[]) AS short, unnest(:error::text[]) AS error,
        unnest(:type::text[]) AS type, unnest(:seq::bigint[]) AS seq, unnest(:at::bigint[]) AS at
) AS p
JOIN requests AS q ON q.run = p.run
ON CONFLICT (run, step) DO UPDATE
SET short = excluded.short, error = excluded.error, type = excluded.type, seq = excluded.seq,
    at = excluded.at;

-- name: drop_failure
-- It goes on again; one that is not there is no error.
DELETE FROM failures AS f USING unnest(:run::bigint[], :step::bigint[]) AS p (run, step)
WHERE f.run = p.run AND f.step = p.step;

-- name: failures_of_run
-- All that has failed of one run.
SELECT step, error, type, seq, at FROM failures WHERE run = :run::bigint ORDER BY step;

-- name: keys_by_error
-- The newest runs of which something has failed so, or below which it has, seeking in both indexes.
SELECT run FROM failures
WHERE short = :short::text AND run < :before::bigint
  AND (:error::text IS NULL OR error = :error::text)
UNION
SELECT root FROM failures
WHERE short = :short::text AND root < :before::bigint
  AND (:error::text IS NULL OR error = :error::text)
ORDER BY 1 DESC LIMIT :limit::bigint;

-- name: failure_groups
-- The newest of each error and task type. Whoever asks reads all failures there are: they are few.
SELECT f.error, f.type, f.alike, f.step, f.at, q.id, coalesce(t.id, q.id), coalesce(tr.kind, r.kind),
       e.data
FROM (
    SELECT *, count(*) OVER (PARTITION BY error, type) AS alike,
           row_number() OVER (
               PARTITION BY error, type ORDER BY at DESC, run DESC, step DESC
           ) AS place
    FROM failures
    WHERE (:short::text IS NULL OR short = :short::text)
      AND (:error::text IS NULL OR error = :error::text)
      AND (:type::text IS NULL OR type = :type::text)
      AND (:since::bigint IS NULL OR at >= :since::bigint)
      AND (:until::bigint IS NULL OR at < :until::bigint)
) AS f
JOIN runs AS r ON r.key = f.run
JOIN requests AS q ON q.run = f.run
LEFT JOIN runs AS tr ON tr.key = f.root
LEFT JOIN requests AS t ON t.run = f.root
LEFT JOIN events AS e ON e.run = f.run AND e.seq = f.seq
WHERE f.place <= :examples::bigint
ORDER BY f.alike DESC, f.error, f.type, f.place;
