-- name: due_entries
-- Takes what is due in the order of service, over all types and piles, and no more than there are
-- free slots. A line of a higher priority comes first, unless another has waited for so much longer
-- (:ageing, for each point); where nothing ages, that is NULL for all of them and decides nothing.
-- Each type and priority is one seek; of each no more lines are read than could be taken, and some in
-- reserve, for those that other workers are taking at this moment are passed over. Tasks of processes
-- that others drive are lent, unless they are lent already. A worker that was taken for dead gets
-- nothing. Each line has its run; LEFT JOIN only tells the planner to begin with the queue: a plan for
-- any :within would else read all runs first. What is due only by :until waits at its worker, but
-- nothing that others could take, and no look or other thing that has to be punctual.
WITH RECURSIVE piles (holder, type, room, rank) AS (
    SELECT h.holder, t.type, t.room,
           (SELECT min(q.rank) FROM queue AS q WHERE q.holder = h.holder AND q.type = t.type)
    FROM unnest(:holders::bigint[]) AS h (holder)
    CROSS JOIN unnest(:types::text[], :rooms::bigint[]) AS t (type, room)
    WHERE t.room > 0 AND EXISTS (SELECT 1 FROM workers AS w WHERE w.key = :worker::bigint)
    UNION ALL
    SELECT p.holder, p.type, p.room,
           (SELECT min(q.rank) FROM queue AS q
            WHERE q.holder = p.holder AND q.type = p.type AND q.rank > p.rank)
    FROM piles AS p WHERE p.rank IS NOT NULL
),
due AS MATERIALIZED (
    SELECT p.type, p.rank, d.ready_at, d.run, d.step, d.place_on_disk, d.owner, p.room,
           row_number() OVER (
               PARTITION BY p.type
               ORDER BY d.ready_at + p.rank::numeric * :ageing::bigint, p.rank, d.ready_at, d.run,
                        d.step
           ) AS place
    FROM piles AS p
    CROSS JOIN LATERAL (
        SELECT q.ready_at, q.run, q.step, q.ctid AS place_on_disk, r.owner
        FROM queue AS q LEFT JOIN runs AS r ON r.key = q.run
        WHERE q.holder = p.holder AND q.type = p.type AND q.rank = p.rank
          AND q.ready_at <= CASE WHEN p.holder = -1 OR p.type = ANY(:punctual::text[])
                                 THEN :now::bigint ELSE :until::bigint END
          AND (:within::bigint IS NULL
               OR (SELECT coalesce(root, run) FROM requests WHERE run = q.run) = :within::bigint)
          AND (q.holder <> -1 OR r.owner IS NULL OR r.owner = :worker::bigint
               OR NOT EXISTS (SELECT 1 FROM loans AS l WHERE l.run = q.run AND l.step = q.step))
        ORDER BY q.ready_at, q.run, q.step
        LIMIT least(p.room, :slots::bigint) + 64
    ) AS d
    WHERE p.rank IS NOT NULL
),
taken AS MATERIALIZED (
    SELECT d.place_on_disk, d.owner
    FROM due AS d JOIN queue AS q ON q.ctid = d.place_on_disk
    WHERE d.room >= :slots::bigint OR d.place <= d.room
    ORDER BY d.ready_at + d.rank::numeric * :ageing::bigint, d.rank, d.ready_at, d.run, d.step,
             d.type
    LIMIT :slots::bigint
    FOR UPDATE OF q SKIP LOCKED
)
DELETE FROM queue AS q
USING taken AS t
WHERE q.ctid = t.place_on_disk
RETURNING q.rank, q.ready_at, q.run, q.step, q.type, q.holder, t.owner,
          q.type <> '' AND EXISTS (SELECT 1 FROM gates AS g WHERE g.run = q.run AND g.step = q.step);

-- name: next_due
-- What is left for this worker: for each type and priority whether something is due, and when the
-- next line will be.
WITH RECURSIVE piles (holder, type, rank) AS (
    SELECT h.holder, t.type,
           (SELECT min(q.rank) FROM queue AS q WHERE q.holder = h.holder AND q.type = t.type)
    FROM unnest(:holders::bigint[]) AS h (holder) CROSS JOIN unnest(:types::text[]) AS t (type)
    UNION ALL
    SELECT p.holder, p.type,
           (SELECT min(q.rank) FROM queue AS q
            WHERE q.holder = p.holder AND q.type = p.type AND q.rank > p.rank)
    FROM piles AS p WHERE p.rank IS NOT NULL
)
SELECT p.type, p.rank, first.ready_at, later.ready_at
FROM piles AS p
LEFT JOIN LATERAL (
    SELECT q.ready_at FROM queue AS q LEFT JOIN runs AS r ON r.key = q.run
    WHERE q.holder = p.holder AND q.type = p.type AND q.rank = p.rank
      AND q.ready_at <= CASE WHEN p.holder = -1 OR p.type = ANY(:punctual::text[])
                             THEN :now::bigint ELSE :until::bigint END
      AND (:within::bigint IS NULL
           OR (SELECT coalesce(root, run) FROM requests WHERE run = q.run) = :within::bigint)
      AND (q.holder <> -1 OR r.owner IS NULL OR r.owner = :worker::bigint
           OR NOT EXISTS (SELECT 1 FROM loans AS l WHERE l.run = q.run AND l.step = q.step))
    ORDER BY q.ready_at LIMIT 1
) AS first ON true
LEFT JOIN LATERAL (
    SELECT q.ready_at FROM queue AS q LEFT JOIN runs AS r ON r.key = q.run
    WHERE q.holder = p.holder AND q.type = p.type AND q.rank = p.rank
      AND q.ready_at > CASE WHEN p.holder = -1 OR p.type = ANY(:punctual::text[])
                            THEN :now::bigint ELSE :until::bigint END
      AND (:within::bigint IS NULL
           OR (SELECT coalesce(root, run) FROM requests WHERE run = q.run) = :within::bigint)
      AND (q.holder <> -1 OR r.owner IS NULL OR r.owner = :worker::bigint
           OR NOT EXISTS (SELECT 1 FROM loans AS l WHERE l.run = q.run AND l.step = q.step))
    ORDER BY q.ready_at LIMIT 1
) AS later ON true
WHERE p.rank IS NOT NULL;

-- name: hold_runs
-- Those of some runs that nobody drives, kept until this is committed. Who is deciding on a run at
-- this moment keeps it for now.
SELECT key FROM runs WHERE key = ANY (:keys::bigint[]) AND owner IS NULL
ORDER BY key FOR UPDATE SKIP LOCKED;

-- name: take_runs
-- A new owner is a new epoch: whatever was decided before is stale.
UPDATE runs SET owner = :owner::bigint, epoch = epoch + 1, version = version + 1
WHERE key = ANY (:keys::bigint[]);

-- name: take_along
-- The other entries of runs that were just taken lie where their new owner looks for them. Adding
-- nothing to the holder keeps PostgreSQL from reading all that nobody holds.
WITH moved AS (
    DELETE FROM queue AS q
    USING unnest(:keys::bigint[]) AS p (run)
    WHERE q.run = p.run AND q.holder + 0 = 0
    RETURNING q.type, q.rank, q.ready_at, q.run, q.step
)
INSERT INTO queue (holder, type, rank, ready_at, run, step)
SELECT :holder::bigint, type, rank, ready_at, run, step FROM moved ORDER BY 1, 2, 3, 4, 5, 6
ON CONFLICT DO NOTHING;

-- name: queued_types
-- What waits, for those who ask whether anybody executes it.
SELECT type, count(*) FROM queue WHERE type <> '' GROUP BY type;
