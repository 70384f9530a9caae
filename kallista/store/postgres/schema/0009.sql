-- Version 9: what handlers have spent, and what runs may spend.

-- Amounts are billionths. `root` is the run at the top of the tree when it was spent.
CREATE TABLE spending (
    run bigint NOT NULL,
    step integer NOT NULL,
    attempt integer NOT NULL,
    number integer NOT NULL,
    root bigint NOT NULL,
    unit text COLLATE "C" NOT NULL,
    amount bigint NOT NULL,
    type text COLLATE "C" NOT NULL,
    at bigint NOT NULL,
    PRIMARY KEY (run, step, attempt, number)
);

CREATE INDEX spending_by_moment ON spending (at);

-- `spent` is what the run has spent with all below it, so that nobody has to add it up.
CREATE TABLE budgets (
    run bigint NOT NULL,
    unit text COLLATE "C" NOT NULL,
    most bigint NOT NULL,
    spent bigint NOT NULL,
    PRIMARY KEY (run, unit)
);

-- Older programs would begin what there is no budget left for.
UPDATE store SET compatible_from = 9;
