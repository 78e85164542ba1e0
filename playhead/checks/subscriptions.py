"""How far each subscription that keeps its cursor by name has read."""

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from redis import Redis, RedisCluster

from playhead.consumers.subscriptions.kept import cursor_path, kept_names, read_cursor
from playhead.consumers.subscriptions.lag import lag_behind
from playhead.settings.settings import Settings
from playhead.streams.errors import InvalidSetting
from playhead.streams.events import format_time


class SubscriptionStatus(msgspec.Struct, frozen=True):
    """A subscription on one partition, None if it has read nothing; `lag_events` and `lag_seconds` may be unknown.

    `last_read` is when its cursor was last saved. It holds nothing up, and does not count for `caught_up`.
    """

    name: str
    partition: str | None
    position: str | None
    lag_events: int | None
    lag_seconds: float | None
    last_read: str
    problem: str | None = None


def read_subscriptions(
    client: "Redis | RedisCluster", settings: Settings, directory: Path
) -> Iterator[SubscriptionStatus]:
    """Read every cursor of a directory, and compare it with the streams; nothing if the directory is not there."""
    for name in kept_names(directory):
        with suppress(FileNotFoundError):  # forgotten meanwhile
            saved = _time(cursor_path(directory, name).stat().st_mtime)
            try:
                positions = read_cursor(directory, name).positions
            except InvalidSetting as error:
                yield SubscriptionStatus(name, None, None, None, None, saved, str(error))
                continue
            if not positions:
                yield SubscriptionStatus(name, None, None, None, None, saved)
            for partition, position in sorted(positions.items()):
                lag = lag_behind(client, settings.event_log_dir, partition, position)
                yield SubscriptionStatus(name, str(partition), str(position), lag.events, lag.seconds, saved)


def _time(seconds: float) -> str:
    return format_time(datetime.fromtimestamp(seconds, UTC))
