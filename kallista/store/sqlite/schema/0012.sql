-- Version 12: what attempts that run say of themselves.

-- One row for each step of which an attempt runs, or may run again, and that has said anything.
CREATE TABLE heartbeats (
    run INTEGER NOT NULL,
    step INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    at INTEGER NOT NULL,
    fraction REAL,
    message TEXT,
    details TEXT,
    PRIMARY KEY (run, step)
) STRICT, WITHOUT ROWID;

-- Older programs would neither remove them nor stop attempts that are silent.
UPDATE store SET compatible_from = 12;
