-- Version 14: attempts are counted over all workers by keys, and begin no faster than a rate.

-- What the line of a step has to pass. `worker` is who executes the attempt that is counted under the
-- name; NULL while the step waits. `ready_at` is when the line was due first.
CREATE TABLE gates (
    run bigint NOT NULL,
    ready_at bigint NOT NULL,
    spacing bigint NOT NULL,
    worker bigint,
    step integer NOT NULL,
    number integer NOT NULL,
    name text COLLATE "C" NOT NULL,
    PRIMARY KEY (run, step, name)
) WITH (fillfactor = 70);

CREATE INDEX gates_held ON gates (name) WHERE worker IS NOT NULL;
CREATE INDEX gates_by_worker ON gates (worker) WHERE worker IS NOT NULL;

-- Lines that found no room, out of the way of claims. Those that share a name, a lane and a number
-- (`pile`) come one after the other.
CREATE TABLE held_lines (
    turn bigint NOT NULL,
    rank bigint NOT NULL,
    ready_at bigint NOT NULL,
    run bigint NOT NULL,
    step integer NOT NULL,
    name text COLLATE "C" NOT NULL,
    pile text COLLATE "C" NOT NULL,
    type text COLLATE "C" NOT NULL,
    PRIMARY KEY (name, pile, turn, rank, ready_at, run, step)
) WITH (autovacuum_vacuum_scale_factor = 0.05);

CREATE UNIQUE INDEX held_lines_by_step ON held_lines (run, step);

-- When the next attempt of a rate may begin.
CREATE TABLE rates (
    name text COLLATE "C" PRIMARY KEY,
    next_at bigint NOT NULL
) WITH (fillfactor = 50);

-- Older programs would begin what has to wait.
UPDATE store SET compatible_from = 14;
