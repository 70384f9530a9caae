-- name: put_failure
-- What a step has failed by; a step fails again only after it was reset.
INSERT OR REPLACE INTO failures (run, step, short, error, type, seq, at, root)
SELECT :run, :step, :short, :error, :type, :seq, :at, coalesce(root, key) FROM runs WHERE key = :run;

-- name: drop_failure
-- It goes on again; one that is not there is no error.
DELETE FROM failures WHERE run = :run AND step = :step;

-- name: failures_of_run
-- All that has failed of one run.
SELECT step, error, type, seq, at FROM failures WHERE run = :run ORDER BY step;

-- name: keys_by_error
-- The newest runs of which something has failed so, or below which it has, seeking in both indexes.
SELECT run FROM failures
WHERE short = :short AND run < :before AND (:error IS NULL OR error = :error)
UNION
SELECT root FROM failures
WHERE short = :short AND root < :before AND (:error IS NULL OR error = :error)
ORDER BY 1 DESC LIMIT :limit;

-- name: failure_groups
-- The newest of each error and task type. Whoever asks reads all failures there are: they are few.
SELECT f.error, f.type, f.alike, f.step, f.at, r.id, coalesce(t.id, r.id), coalesce(t.kind, r.kind),
       e.data
FROM (
    SELECT *, count(*) OVER (PARTITION BY error, type) AS alike,
           row_number() OVER (
               PARTITION BY error, type ORDER BY at DESC, run DESC, step DESC
           ) AS place
    FROM failures
    WHERE (:short IS NULL OR short = :short) AND (:error IS NULL OR error = :error)
      AND (:type IS NULL OR type = :type)
      AND (:since IS NULL OR at >= :since) AND (:until IS NULL OR at < :until)
) AS f
JOIN runs AS r ON r.key = f.run
LEFT JOIN runs AS t ON t.key = f.root
LEFT JOIN events AS e ON e.run = f.run AND e.seq = f.seq
WHERE f.place <= :examples
ORDER BY f.alike DESC, f.error, f.type, f.place;
