-- name: row_counts
-- How much there is of everything; to count it is to read it.
SELECT (SELECT count(*) FROM runs), (SELECT count(*) FROM steps), (SELECT count(*) FROM events),
       (SELECT count(*) FROM queue) + (SELECT count(*) FROM held_lines), (SELECT count(*) FROM waits), (SELECT count(*) FROM loans),
       (SELECT count(*) FROM definitions), (SELECT count(*) FROM schedules),
       (SELECT count(*) FROM tombstones), (SELECT count(*) FROM workers),
       (SELECT count(*) FROM failures), (SELECT count(*) FROM heartbeats),
       (SELECT count(*) FROM signals), (SELECT count(*) FROM questions);

-- name: oldest_by_status
-- The oldest runs in one state, seeking in the index on it, each with whether it has a parent.
SELECT r.key, r.created_at, r.ended_at, p.key IS NOT NULL
FROM runs AS r LEFT JOIN runs AS p ON p.key = r.parent
WHERE r.kind = :kind AND r.status = :status AND r.key > :after
ORDER BY r.key LIMIT :limit;

-- name: lines_of_run
-- What of a run waits to be taken up.
SELECT type, -rank,
       CASE WHEN type = '' THEN ready_at
            ELSE coalesce((SELECT min(g.ready_at) FROM gates AS g
                           WHERE g.run = queue.run AND g.step = queue.step), ready_at) END,
       step
FROM queue WHERE run = :run
UNION ALL
SELECT type, -rank, ready_at, step FROM held_lines WHERE run = :run
ORDER BY 4, 1, 3;

-- name: awaited_by
-- Whose ends wake a run.
SELECT awaited FROM waits WHERE run = :run ORDER BY awaited;

-- name: broken_links
-- What points to something that is not there, and what nothing points to any more.
SELECT 'request' AS what, r.key AS run, NULL AS step, r.id AS about
FROM runs AS r LEFT JOIN requests AS q ON q.run = r.key
LEFT JOIN definitions AS d ON d.key = q.definition
WHERE d.key IS NULL
UNION ALL
SELECT 'owner', key, NULL, id FROM runs
WHERE owner IS NOT NULL AND NOT EXISTS (SELECT 1 FROM workers WHERE key = runs.owner)
UNION ALL
SELECT 'step', s.run, s.step, NULL FROM steps AS s LEFT JOIN runs AS r ON r.key = s.run
WHERE r.key IS NULL OR s.step NOT BETWEEN 0 AND r.step_count - 1
UNION ALL
SELECT 'event', e.run, NULL, NULL FROM (SELECT DISTINCT run FROM events) AS e
WHERE NOT EXISTS (SELECT 1 FROM runs WHERE key = e.run)
UNION ALL
SELECT 'line', q.run, q.step, q.type FROM queue AS q LEFT JOIN runs AS r ON r.key = q.run
WHERE r.key IS NULL OR q.step NOT BETWEEN -1 AND r.step_count - 1
UNION ALL
SELECT 'loan', l.run, l.step, l.type FROM loans AS l LEFT JOIN runs AS r ON r.key = l.run
WHERE r.key IS NULL OR l.step NOT BETWEEN 0 AND r.step_count - 1
UNION ALL
SELECT 'heartbeat', h.run, h.step, NULL FROM heartbeats AS h LEFT JOIN runs AS r ON r.key = h.run
WHERE r.key IS NULL OR h.step NOT BETWEEN 0 AND r.step_count - 1
UNION ALL
SELECT 'signal', s.run, s.step, s.id FROM signals AS s
LEFT JOIN events AS e ON e.run = s.run AND e.seq = s.seq
WHERE e.run IS NULL
UNION ALL
SELECT 'question', q.run, q.step, NULL FROM questions AS q
LEFT JOIN events AS e ON e.run = q.run AND e.seq = q.seq
WHERE e.run IS NULL
UNION ALL
SELECT 'gate', g.run, g.step, g.name FROM gates AS g LEFT JOIN runs AS r ON r.key = g.run
WHERE r.key IS NULL OR g.step NOT BETWEEN 0 AND r.step_count - 1
UNION ALL
SELECT 'held line', h.run, h.step, h.name FROM held_lines AS h
WHERE NOT EXISTS (SELECT 1 FROM gates WHERE run = h.run AND step = h.step AND name = h.name)
UNION ALL
SELECT 'wait', w.run, NULL, w.awaited FROM waits AS w
WHERE NOT EXISTS (SELECT 1 FROM runs WHERE key = w.run)
UNION ALL
SELECT 'tag', t.run, NULL, t.tag FROM run_tags AS t
WHERE NOT EXISTS (SELECT 1 FROM runs WHERE key = t.run)
UNION ALL
SELECT 'failure', f.run, f.step, f.error FROM failures AS f LEFT JOIN runs AS r ON r.key = f.run
WHERE r.key IS NULL OR f.step NOT BETWEEN -1 AND r.step_count - 1
UNION ALL
SELECT 'same', s.run, NULL, s.key FROM same_again AS s
WHERE NOT EXISTS (SELECT 1 FROM runs WHERE key = s.run)
UNION ALL
SELECT 'name', NULL, NULL, n.name FROM definition_names AS n
WHERE NOT EXISTS (SELECT 1 FROM definitions WHERE key = n.definition)
UNION ALL
SELECT 'schedule', NULL, NULL, s.id FROM schedules AS s
WHERE NOT EXISTS (SELECT 1 FROM definitions WHERE key = s.definition)
LIMIT :limit;
