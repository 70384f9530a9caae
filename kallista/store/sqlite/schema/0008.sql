-- Version 8: schedules fire for moments of the past, too.

-- Which moments, as JSON; NULL for none.
ALTER TABLE schedules ADD COLUMN backfill TEXT;

ALTER TABLE schedules ADD COLUMN backfilled INTEGER NOT NULL DEFAULT 0;

-- Older programs would take them for due.
UPDATE store SET compatible_from = 8;
