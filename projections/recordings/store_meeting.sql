INSERT INTO meetings (
    id, guild_id, channel_id, strategy, status, started_at, stopped_at, user_ids, problem, event_order
) VALUES (
    %(id)s, %(guild_id)s, %(channel_id)s, %(strategy)s, %(status)s, %(started_at)s, %(stopped_at)s,
    %(user_ids)s, %(problem)s, %(event_order)s
)
ON CONFLICT (id) DO UPDATE SET
    guild_id = excluded.guild_id,
    channel_id = excluded.channel_id,
    strategy = excluded.strategy,
    status = excluded.status,
    started_at = excluded.started_at,
    stopped_at = excluded.stopped_at,
    user_ids = excluded.user_ids,
    problem = excluded.problem,
    event_order = excluded.event_order
