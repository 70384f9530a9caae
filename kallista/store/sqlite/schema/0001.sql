-- Version 1: runs with their steps, history and queue, named definitions, schedules, workers.
-- Moments and lengths are whole microseconds; payloads are JSON text.

-- One row about the file itself. Programs that know schema version `compatible_from` or a later one
-- may use it; `commits` counts the groups written, so that a commit in doubt can be looked up.
CREATE TABLE store (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    compatible_from INTEGER NOT NULL,
    commits INTEGER NOT NULL
) STRICT;

INSERT INTO store (id, compatible_from, commits) VALUES (1, 1, 0);

CREATE TABLE definitions (
    key INTEGER PRIMARY KEY,
    hash TEXT NOT NULL UNIQUE,
    content TEXT NOT NULL
) STRICT;

CREATE TABLE definition_names (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    definition INTEGER NOT NULL,
    defined_at INTEGER NOT NULL,
    PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;

CREATE INDEX definition_names_by_definition ON definition_names (definition);

-- What every plan rewrites, and little else, so that a plan rewrites little. Keys are never used
-- twice: what still points to a deleted run must not find another one. `root` is NULL at the top.
CREATE TABLE runs (
    key INTEGER PRIMARY KEY AUTOINCREMENT,
    state TEXT NOT NULL,
    seq INTEGER NOT NULL,
    in_flight INTEGER NOT NULL,
    started_at INTEGER,
    ended_at INTEGER,
    deadline_at INTEGER,
    driven INTEGER NOT NULL,
    held INTEGER NOT NULL,
    outcome INTEGER,
    version INTEGER NOT NULL,
    owner INTEGER,
    epoch INTEGER NOT NULL,
    status TEXT NOT NULL,
    id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    parent INTEGER,
    parent_step INTEGER,
    root INTEGER,
    schedule TEXT,
    priority INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    step_count INTEGER NOT NULL
) STRICT;

CREATE INDEX runs_by_status ON runs (kind, status);
CREATE INDEX runs_by_name ON runs (name);
CREATE INDEX runs_by_owner ON runs (owner) WHERE owner IS NOT NULL;
CREATE INDEX runs_by_parent ON runs (parent) WHERE parent IS NOT NULL;
CREATE INDEX runs_by_schedule ON runs (schedule) WHERE schedule IS NOT NULL;

-- What was asked for: it never changes and may be large, so it is kept apart from what changes.
CREATE TABLE requests (
    run INTEGER PRIMARY KEY,
    definition INTEGER NOT NULL,
    content TEXT NOT NULL,
    tags TEXT NOT NULL,
    inputs TEXT NOT NULL
) STRICT;

CREATE INDEX requests_by_definition ON requests (definition);

CREATE TABLE run_tags (
    tag TEXT NOT NULL,
    run INTEGER NOT NULL,
    PRIMARY KEY (tag, run)
) STRICT, WITHOUT ROWID;

-- Only steps to which something has happened have a row.
CREATE TABLE steps (
    run INTEGER NOT NULL,
    step INTEGER NOT NULL,
    status TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    crashes INTEGER NOT NULL,
    ready_at INTEGER,
    since INTEGER,
    started_at INTEGER,
    ended_at INTEGER,
    worker INTEGER,
    outcome INTEGER,
    passed INTEGER NOT NULL,
    PRIMARY KEY (run, step)
) STRICT, WITHOUT ROWID;

CREATE TABLE events (
    run INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    at INTEGER NOT NULL,
    kind TEXT NOT NULL,
    step INTEGER,
    attempt INTEGER NOT NULL,
    data TEXT,
    PRIMARY KEY (run, seq)
) STRICT, WITHOUT ROWID;

-- Who wants to be woken when a run ends; kept while the waiting run exists, for it may be retried.
CREATE TABLE waits (
    awaited TEXT NOT NULL,
    run INTEGER NOT NULL,
    PRIMARY KEY (awaited, run)
) STRICT, WITHOUT ROWID;

CREATE INDEX waits_by_run ON waits (run);

-- `holder` is the owner of the run, 0 without one: a claim seeks its own and the free entries and
-- never meets another worker's. `rank` is the negated priority, so that the index runs one way.
CREATE TABLE queue (
    holder INTEGER NOT NULL,
    type TEXT NOT NULL,
    rank INTEGER NOT NULL,
    ready_at INTEGER NOT NULL,
    run INTEGER NOT NULL,
    step INTEGER NOT NULL,
    PRIMARY KEY (holder, type, rank, ready_at, run, step)
) STRICT, WITHOUT ROWID;

CREATE INDEX queue_by_run ON queue (run);

CREATE TABLE tombstones (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    status TEXT NOT NULL,
    deleted_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE schedules (
    id TEXT PRIMARY KEY,
    status TEXT NOT NULL,
    trigger TEXT NOT NULL,
    definition INTEGER NOT NULL,
    content TEXT NOT NULL,
    priority INTEGER NOT NULL,
    tags TEXT NOT NULL,
    max_runs INTEGER,
    until INTEGER,
    fired INTEGER NOT NULL,
    skipped INTEGER NOT NULL,
    next_at INTEGER,
    last_at INTEGER,
    last_run TEXT,
    created_at INTEGER NOT NULL,
    version INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX schedules_by_moment ON schedules (next_at) WHERE status = 'ACTIVE';
CREATE INDEX schedules_by_definition ON schedules (definition);

-- Keys are never used twice: a lock file is named after them.
CREATE TABLE workers (
    key INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    types TEXT NOT NULL,
    started_at INTEGER NOT NULL
) STRICT;

CREATE TABLE type_schemas (
    type TEXT PRIMARY KEY,
    schema TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE VIEW run_records AS
SELECT
    r.key, r.id, r.kind, r.name, r.status, q.definition AS definition_key, d.hash AS definition,
    q.content, q.inputs, r.parent, r.parent_step, p.id AS parent_id,
    coalesce(r.root, r.key) AS root, r.schedule, r.priority, q.tags, r.created_at, r.owner,
    r.epoch, r.version, r.step_count, r.state, r.seq, r.in_flight, r.started_at, r.ended_at,
    r.deadline_at, r.driven, r.held, r.outcome
FROM runs AS r
JOIN requests AS q ON q.run = r.key
JOIN definitions AS d ON d.key = q.definition
LEFT JOIN runs AS p ON p.key = r.parent;
