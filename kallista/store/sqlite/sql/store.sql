-- name: next_commit
-- Numbers the group, so that after a failed COMMIT its number tells whether it happened.
UPDATE store SET commits = commits + 1;

-- name: last_commit
-- Which group was written last; each program counts on from there until another has written.
SELECT commits FROM store;

-- name: compatible_from
-- The oldest program that may use this file.
SELECT compatible_from FROM store;

-- name: schema_objects
-- A file without any is empty or was left half-made, and may become a store.
SELECT count(*) FROM sqlite_schema;
