-- Version 11: what handlers have spent, and what runs may spend.

-- Amounts are billionths. `root` is the run at the top of the tree when it was spent.
CREATE TABLE spending (
    run INTEGER NOT NULL,
    step INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    number INTEGER NOT NULL,
    root INTEGER NOT NULL,
    unit TEXT NOT NULL,
    amount INTEGER NOT NULL,
    type TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (run, step, attempt, number)
) STRICT, WITHOUT ROWID;

CREATE INDEX spending_by_moment ON spending (at);

-- `spent` is what the run has spent with all below it, so that nobody has to add it up.
CREATE TABLE budgets (
    run INTEGER NOT NULL,
    unit TEXT NOT NULL,
    most INTEGER NOT NULL,
    spent INTEGER NOT NULL,
    PRIMARY KEY (run, unit)
) STRICT, WITHOUT ROWID;

-- Older programs would begin what there is no budget left for.
UPDATE store SET compatible_from = 11;
