-- Version 16: attempts are counted over all workers by keys, and begin no faster than a rate.

-- What the line of a step has to pass. `worker` is who executes the attempt that is counted under the
-- name; NULL while the step waits. `ready_at` is when the line was due first.
CREATE TABLE gates (
    run INTEGER NOT NULL,
    step INTEGER NOT NULL,
    name TEXT NOT NULL,
    number INTEGER NOT NULL,
    spacing INTEGER NOT NULL,
    ready_at INTEGER NOT NULL,
    worker INTEGER,
    PRIMARY KEY (run, step, name)
) STRICT, WITHOUT ROWID;

CREATE INDEX gates_held ON gates (name) WHERE worker IS NOT NULL;
CREATE INDEX gates_by_worker ON gates (worker) WHERE worker IS NOT NULL;

-- Lines that found no room, out of the way of claims. Those that share a name, a lane and a number
-- (`pile`) come one after the other.
CREATE TABLE held_lines (
    name TEXT NOT NULL,
    pile TEXT NOT NULL,
    turn INTEGER NOT NULL,
    rank INTEGER NOT NULL,
    ready_at INTEGER NOT NULL,
    run INTEGER NOT NULL,
    step INTEGER NOT NULL,
    type TEXT NOT NULL,
    PRIMARY KEY (name, pile, turn, rank, ready_at, run, step)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX held_lines_by_step ON held_lines (run, step);

-- When the next attempt of a rate may begin.
CREATE TABLE rates (
    name TEXT PRIMARY KEY,
    next_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Older programs would begin what has to wait.
UPDATE store SET compatible_from = 16;
