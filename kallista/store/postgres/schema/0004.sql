-- Version 4: schedules say why they are in their status, and since when.

ALTER TABLE schedules ADD COLUMN note text;

-- Failures before it are not counted any more.
ALTER TABLE schedules ADD COLUMN since bigint NOT NULL DEFAULT 0;

UPDATE schedules SET since = created_at;

-- Older programs would neither keep the note nor know what else the rules may say.
UPDATE store SET compatible_from = 4;
