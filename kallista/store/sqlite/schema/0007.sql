-- Version 7: schedules start runs of every kind, with arguments that may name the firing.

ALTER TABLE schedules ADD COLUMN inputs TEXT NOT NULL DEFAULT '{}';

-- Older programs would start them without.
UPDATE store SET compatible_from = 7;
