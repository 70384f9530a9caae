-- Version 13: signals are sent to runs, and steps wait for them and for the answers of people.

-- What was sent to a run, and the step that has got it; what it says stands in its event. Answers of
-- people have no name. Rows stay, so that a repeat is known by its id.
CREATE TABLE signals (
    run bigint NOT NULL,
    seq integer NOT NULL,
    step integer,
    name text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    digest text NOT NULL,
    PRIMARY KEY (run, seq)
);

-- The steps that wait for one or the other; what they ask stands in the event `seq`.
CREATE TABLE questions (
    run bigint NOT NULL,
    at bigint NOT NULL,
    step integer NOT NULL,
    seq integer NOT NULL,
    approval boolean NOT NULL,
    PRIMARY KEY (run, step)
);

CREATE INDEX approvals_by_age ON questions (at, run, step) WHERE approval;

-- Older programs would not know what such a step waits for.
UPDATE store SET compatible_from = 13;
