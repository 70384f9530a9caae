-- Version 15: signals are sent to runs, and steps wait for them and for the answers of people.

-- What was sent to a run, and the step that has got it; what it says stands in its event. Answers of
-- people have no name. Rows stay, so that a repeat is known by its id.
CREATE TABLE signals (
    run INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    name TEXT NOT NULL,
    id TEXT NOT NULL,
    digest TEXT NOT NULL,
    step INTEGER,
    PRIMARY KEY (run, seq)
) STRICT, WITHOUT ROWID;

-- The steps that wait for one or the other; what they ask stands in the event `seq`.
CREATE TABLE questions (
    run INTEGER NOT NULL,
    step INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    at INTEGER NOT NULL,
    approval INTEGER NOT NULL,
    PRIMARY KEY (run, step)
) STRICT, WITHOUT ROWID;

CREATE INDEX approvals_by_age ON questions (at, run, step) WHERE approval;

-- Older programs would not know what such a step waits for.
UPDATE store SET compatible_from = 15;
