-- Version 10: what attempts that run say of themselves.

-- One row for each step of which an attempt runs, or may run again, and that has said anything.
CREATE TABLE heartbeats (
    run bigint NOT NULL,
    at bigint NOT NULL,
    fraction double precision,
    step integer NOT NULL,
    attempt integer NOT NULL,
    message text,
    details text,
    PRIMARY KEY (run, step)
) WITH (fillfactor = 65);

-- Older programs would neither remove them nor stop attempts that are silent.
UPDATE store SET compatible_from = 10;
