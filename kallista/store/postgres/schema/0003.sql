-- Version 3: schedules say how they treat their moments, and when somebody has to look at them.

-- What is not usual, as JSON.
ALTER TABLE schedules ADD COLUMN rules text NOT NULL DEFAULT '{}';

-- The next moment, later by its jitter.
ALTER TABLE schedules ADD COLUMN look_at bigint;

UPDATE schedules SET look_at = next_at;

DROP INDEX schedules_by_moment;
CREATE INDEX schedules_by_moment ON schedules (look_at, id) WHERE status = 'ACTIVE';

-- Older programs would neither keep the rules nor set the moment.
UPDATE store SET compatible_from = 3;
