-- Version 10: a request may be the same as an earlier one.

-- The run that is the answer to all requests of a key, for what it starts and up to a moment.
CREATE TABLE same_again (
    scope TEXT NOT NULL,
    key TEXT NOT NULL,
    run INTEGER NOT NULL,
    until INTEGER NOT NULL,
    PRIMARY KEY (scope, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX same_again_by_run ON same_again (run);
CREATE INDEX same_again_by_moment ON same_again (until);

-- Older programs would create what is there already, and leave the key of a deleted run behind.
UPDATE store SET compatible_from = 10;
