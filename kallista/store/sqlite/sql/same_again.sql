-- name: first_of_keys
-- The runs that these keys stand for.
SELECT s.scope, s.key, r.key, r.id, s.until, r.state
FROM json_each(:keys)
CROSS JOIN same_again AS s
    ON s.scope = json_each.value ->> 0 AND s.key = json_each.value ->> 1
JOIN runs AS r ON r.key = s.run;

-- name: put_same
-- From now on this run is the answer.
INSERT OR REPLACE INTO same_again (scope, key, run, until) VALUES (:scope, :key, :run, :until);

-- name: drop_old_same
-- Each new key takes two with it whose time is over, so that they don't pile up.
DELETE FROM same_again WHERE (scope, key) IN (
    SELECT scope, key FROM same_again WHERE until <= :now ORDER BY until LIMIT 2
);

-- name: same_of_run
-- What makes other requests the same as this run's.
SELECT scope, key, until FROM same_again WHERE run = :run;
