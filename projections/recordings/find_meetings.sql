SELECT
    id, guild_id, channel_id, strategy, status, started_at, stopped_at, user_ids, problem, event_order
FROM meetings
WHERE %(ids)s::text[] IS NULL OR id = ANY(%(ids)s)
ORDER BY started_at DESC NULLS LAST, id
