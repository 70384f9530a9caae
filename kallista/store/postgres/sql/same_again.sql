-- name: first_of_keys
-- The runs that these keys stand for; nobody lets one stand for another run until this is committed.
-- Who is the first to use a key at the same time as somebody else fails, and is tried again.
SELECT s.scope, s.key, s.run, q.id, s.until, r.state
FROM unnest(:scope::text[], :key::text[]) AS k (scope, key)
JOIN same_again AS s ON s.scope = k.scope AND s.key = k.key
JOIN runs AS r ON r.key = s.run
JOIN requests AS q ON q.run = s.run
ORDER BY s.scope, s.key FOR UPDATE OF s;

-- name: drop_same
-- What is no answer any more makes room; what somebody else has written meanwhile is one, and stays.
DELETE FROM same_again AS s USING runs AS r
WHERE s.scope = :scope::text AND s.key = :key::text AND r.key = s.run
  AND (s.until <= :now::bigint OR r.state IN ('FAILED', 'CANCELLED'));

-- name: put_same
-- From now on this run is the answer.
INSERT INTO same_again (scope, key, run, until)
VALUES (:scope::text, :key::text, :run::bigint, :until::bigint);

-- name: drop_old_same
-- Each new key takes two with it whose time is over, so that they don't pile up.
DELETE FROM same_again WHERE (scope, key) IN (
    SELECT scope, key FROM same_again WHERE until <= :now::bigint
    ORDER BY until LIMIT 2 FOR UPDATE SKIP LOCKED
);

-- name: same_of_run
-- What makes other requests the same as this run's.
SELECT scope, key, until FROM same_again WHERE run = :run::bigint;
