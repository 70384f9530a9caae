-- Version 5: schedules start runs of every kind, with arguments that may name the firing.

ALTER TABLE schedules ADD COLUMN inputs text NOT NULL DEFAULT '{}';

-- Older programs would start them without.
UPDATE store SET compatible_from = 5;
