"""What every consumer has done and has yet to do."""

import sys
import time

from playhead.checks.consumer_status import ConsumerStatus
from playhead.checks.status import Status, read_whole_status
from playhead.commands.subscriptions import print_subscriptions
from playhead.settings.servers import servers
from playhead.settings.settings import load
from playhead.streams.positions import START
from playhead.streams.redis.connections import connect
from playhead.terminal.options import DataDir, Json
from playhead.terminal.output import counted, print_json, print_json_line, print_lines, print_table, say

_CLEAR = "\033[H\033[J"
_WATCH_SECONDS = 1.0


def status(*, watch: bool = False, data_dir: DataDir = None, json: Json = False) -> int:
    """Show the position, lag and health of every consumer; exit code 5 if one is behind or does not run.

    A worker that lacks what it works with on this machine, such as ffmpeg, need not run.

    Args:
        watch: Refresh every second, until Ctrl-C; with --json, print one object a line.

    Example:
        playhead status --watch
    """
    settings = load(data_dir)
    client = connect(servers(settings, postgres=False).redis_url, settings.redis_timeout)
    while True:
        found = read_whole_status(client, settings, say)
        if not watch:
            _print(found, json=json)
            return found.exit_code
        if json:
            print_json_line(found)
        else:
            sys.stdout.write(_CLEAR if sys.stdout.isatty() else "")
            _print(found, json=False)
        sys.stdout.flush()
        time.sleep(_WATCH_SECONDS)


def _print(found: Status, *, json: bool) -> None:
    if json:
        print_json(found)
        return
    print_table(
        ("CONSUMER", "PARTITION", "STATE", "POSITION", "LAG", "SECONDS", "PENDING", "PARKED"),
        [
            (
                one.name,
                one.partition,
                one.state,
                one.position,
                "?" if one.lag_events is None else one.lag_events,
                "?" if one.lag_seconds is None else f"{one.lag_seconds:.0f}",
                one.pending,
                one.parked,
            )
            for one in found.consumers
        ],
    )
    if found.subscriptions:
        print_subscriptions(found.subscriptions)
    for one in found.consumers:
        if one.problem:
            print_lines(f"{one.name} {one.partition}: {one.problem}")
        if said := _away(one):
            print_lines(f"{one.name}{'' if one.kind == 'clock' else ' ' + one.partition}: {said}")
        if one.lost:
            print_lines(f"{one.name} {one.partition}: {counted(one.lost, 'event')} lost; `playhead verify` names them")
    for floor in found.held:
        at = "the beginning: it has read nothing" if floor.position == str(START) else floor.position
        print_lines(f"{floor.partition}: {floor.held_by} holds trimming at {at}")
    for replay in found.replays:
        print_lines(f"replay {replay.run}: {replay.state}")
        if replay.state == "interrupted":
            print_lines(f"  `playhead replay --resume {replay.run}` continues it")
            print_lines(f"  `playhead replay cancel {replay.run}` gives it up")
    _print_summary(found)


def _away(one: ConsumerStatus) -> str | None:
    """Since when a consumer does not run, what that holds, and what to do; None if there is nothing to say."""
    resume = f"`playhead consumers resume {one.name}` continues it"
    match one.state:
        case "retired":
            return f"retired since {one.since}; {resume}"
        case "paused":
            return f"paused since {one.since}{_holding(one.holds)}; {resume}"
        case "stopped" if one.holds:
            known = "it never ran" if one.since is None else f"stopped, last heard of at {one.since}"
            return f"{known}{_holding(one.holds)}; if nobody needs it: `playhead consumers retire {one.name}`"
        case "stopped" if one.since is not None:
            return f"stopped, last heard of at {one.since}"
        case _:
            return None


def _holding(entries: int | None) -> str:
    if not entries:
        return ""
    return f", holds {entries} {'entry' if entries == 1 else 'entries'} that could be trimmed"


def _print_summary(found: Status) -> None:
    """What is not as it should be of the whole, and the verdict."""
    for problem in found.damaged:
        print_lines(f"{problem}; `playhead doctor` says what to do")
    for one in found.unlogged:
        print_lines(f"{one.partition}: {one.problem}; `playhead doctor` says what to do")
    for name, count in found.unknown.items():
        print_lines(f"{name}: {count} parked; no domain that is installed here has it")
    for group in found.unknown_groups:
        print_lines(
            f"{group.name} {group.partition}: trimming waits for it{_holding(group.holds)}; if nobody needs it:"
            f" `playhead consumers retire {group.name}`"
        )
    if found.not_running:
        names = ", ".join(found.not_running)
        print_lines(f"not running: {names}; start each with `playhead run`, or all with `playhead up`")
    parked = f", but {found.parked} parked: `playhead parked list`" if found.parked else ""
    print_lines(("caught up" if found.caught_up else "not caught up") + parked)
