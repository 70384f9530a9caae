-- Version 6: schedules fire for moments of the past, too.

-- Which moments, as JSON; NULL for none.
ALTER TABLE schedules ADD COLUMN backfill text;

ALTER TABLE schedules ADD COLUMN backfilled bigint NOT NULL DEFAULT 0;

-- Older programs would take them for due.
UPDATE store SET compatible_from = 6;
