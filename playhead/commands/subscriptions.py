"""`playhead subscriptions`: the cursors that subscriptions keep by name."""

from pathlib import Path

from cyclopts import App

from playhead.checks.subscriptions import SubscriptionStatus, read_subscriptions
from playhead.consumers.subscriptions.kept import KeptCursor, kept_names
from playhead.settings.core import CURSORS_DIR
from playhead.settings.servers import servers
from playhead.settings.settings import load
from playhead.streams.errors import InvalidSetting
from playhead.streams.redis.connections import connect
from playhead.terminal.exit_codes import FAILED
from playhead.terminal.options import DataDir, Json
from playhead.terminal.output import print_json, print_lines, print_table, say

subscriptions_app = App(name="subscriptions", help="List and forget the cursors that subscriptions keep by name.")


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
