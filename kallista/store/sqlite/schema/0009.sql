-- Version 9: what has failed is found by its error.

-- The steps that are FAILED, and at step -1 runs that have failed by themselves. `short` is the name of
-- the exception's class without its module; `root` is the run at the top of the tree.
CREATE TABLE failures (
    run INTEGER NOT NULL,
    step INTEGER NOT NULL,
    root INTEGER NOT NULL,
    short TEXT NOT NULL,
    error TEXT NOT NULL,
    type TEXT NOT NULL,
    seq INTEGER NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (run, step)
) STRICT, WITHOUT ROWID;

CREATE INDEX failures_by_run ON failures (short, run);
CREATE INDEX failures_by_root ON failures (short, root);

-- What has failed before is found as well. A class has the name behind the last dot.
INSERT INTO failures (run, step, root, short, error, type, seq, at)
SELECT f.run, f.step, f.root, replace(f.error, rtrim(f.error, replace(f.error, '.', '')), ''),
       f.error, f.type, f.seq, f.at
FROM (
    SELECT s.run, s.step, coalesce(r.root, r.key) AS root,
           json_extract(e.data, '$.type') AS error,
           coalesce(json_extract(d.content, '$.steps[' || s.step || '].type'),
                    json_extract(d.content, '$.steps[' || s.step || '].child.kind')) AS type,
           e.seq, e.at
    FROM (
        SELECT run, step, outcome FROM steps WHERE status = 'FAILED'
        UNION ALL
        SELECT key, 0, task_outcome FROM runs WHERE kind = 'task' AND status = 'FAILED'
    ) AS s
    JOIN runs AS r ON r.key = s.run
    JOIN events AS e ON e.run = s.run AND e.seq = s.outcome
    JOIN requests AS q ON q.run = s.run
    JOIN definitions AS d ON d.key = q.definition
    UNION ALL
    SELECT r.key, -1, coalesce(r.root, r.key), json_extract(e.data, '$.type'), r.kind, e.seq, e.at
    FROM runs AS r JOIN events AS e ON e.run = r.key AND e.seq = r.outcome
) AS f
WHERE f.error IS NOT NULL AND f.type IS NOT NULL;

-- Older programs would not keep it up to date.
UPDATE store SET compatible_from = 9;
