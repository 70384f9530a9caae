-- Version 2: steps of processes are lent to other workers, and workers renew leases.

-- A step that a worker executes for the one that drives the run. `attempt` is NULL until that one
-- has granted it; type, rank and ready_at are the line of the queue that was taken for it.
CREATE TABLE loans (
    run INTEGER NOT NULL,
    step INTEGER NOT NULL,
    worker INTEGER NOT NULL,
    attempt INTEGER,
    stop INTEGER NOT NULL,
    lost INTEGER NOT NULL,
    report TEXT,
    type TEXT NOT NULL,
    rank INTEGER NOT NULL,
    ready_at INTEGER NOT NULL,
    PRIMARY KEY (run, step)
) STRICT, WITHOUT ROWID;

CREATE INDEX loans_by_worker ON loans (worker);

ALTER TABLE workers ADD COLUMN beat INTEGER NOT NULL DEFAULT 0;

-- From now on the tasks of processes lie with holder -1, where every worker looks. Older programs
-- would neither find them there nor move them away.
UPDATE queue SET holder = -1
WHERE type <> '' AND run IN (SELECT key FROM runs WHERE kind = 'process');

UPDATE store SET compatible_from = 2;
