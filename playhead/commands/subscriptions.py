"""`playhead subscriptions`: the cursors that subscriptions keep by name."""

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from cyclopts import App
from redis import Redis, RedisCluster

from playhead.consumers.subscriptions.kept import KeptCursor, cursor_path, kept_names, read_cursor
from playhead.consumers.subscriptions.lag import lag_behind
from playhead.settings.core import CURSORS_DIR
from playhead.settings.servers import servers
from playhead.settings.settings import Settings, load
from playhead.streams.errors import InvalidSetting
from playhead.streams.events import format_time
from playhead.streams.redis.connections import connect
from playhead.terminal.exit_codes import FAILED
from playhead.terminal.options import DataDir, Json
from playhead.terminal.output import print_json, print_lines, print_table, say

subscriptions_app = App(name="subscriptions", help="List and forget the cursors that subscriptions keep by name.")


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


@subscriptions_app.command(name="list")
def list_subscriptions(*, cursors: Path | None = None, data_dir: DataDir = None, json: Json = False) -> None:
    """List the position of each subscription that keeps its cursor by name, and how far it is behind.

    Args:
        cursors: The directory of the cursors; PLAYHEAD_CURSORS_DIR if omitted.

    Example:
        playhead subscriptions list
    """
    settings = load(data_dir)
    directory = _existing(cursors or settings[CURSORS_DIR])
    client = connect(servers(settings, postgres=False).redis_url, settings.redis_timeout)
    found = list(read_subscriptions(client, settings, directory))
    if json:
        print_json(found)
    else:
        print_subscriptions(found)


@subscriptions_app.command
def forget(name: str, /, *, cursors: Path | None = None, data_dir: DataDir = None) -> int:
    """Remove the cursor of a subscription that does not run; under its name, the next one begins anew.

    Args:
        name: The name of the subscription.
        cursors: The directory of the cursors; PLAYHEAD_CURSORS_DIR if omitted.

    Example:
        playhead subscriptions forget mailer
    """
    directory = _existing(cursors or load(data_dir)[CURSORS_DIR])
    if name not in kept_names(directory):
        say(f"no subscription {name!r} keeps its cursor in {directory}; see `playhead subscriptions list`")
        return FAILED
    kept = KeptCursor(directory, name)
    try:
        kept.forget()
    finally:
        kept.close()
    say(f"{name} is forgotten")
    return 0


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


def print_subscriptions(found: list[SubscriptionStatus]) -> None:
    """Print a table, and what is wrong."""
    print_table(
        ("SUBSCRIPTION", "PARTITION", "POSITION", "LAG", "SECONDS", "LAST READ"),
        [
            (
                one.name,
                one.partition or "-",
                one.position or "-",
                "?" if one.lag_events is None else one.lag_events,
                "?" if one.lag_seconds is None else f"{one.lag_seconds:.0f}",
                one.last_read,
            )
            for one in found
        ],
    )
    for one in found:
        if one.problem is not None:
            print_lines(f"{one.name}: {one.problem}")


def _existing(directory: Path) -> Path:
    if not directory.is_dir():
        raise InvalidSetting(f"there are no cursors in {directory}: pass --cursors, or set {CURSORS_DIR.name}")
    return directory


def _time(seconds: float) -> str:
    return format_time(datetime.fromtimestamp(seconds, UTC))
