"""`playhead verify`: the log against every projection."""

from contextlib import closing
from typing import Annotated

from cyclopts import Parameter
from redis import Redis, RedisCluster

from playhead.comparison.round import Round
from playhead.comparison.verified import FaultShown, Verified
from playhead.settings.servers import servers
from playhead.settings.settings import Settings, load
from playhead.streams.errors import InvalidSetting
from playhead.streams.redis.connections import connect
from playhead.terminal.exit_codes import BEHIND, CORRUPT, DONE
from playhead.terminal.options import DataDir, Json
from playhead.terminal.output import counted, print_json, print_lines, say
from playhead.terminal.progress import Progress

_ROUNDS = 3
_WOULD = {
    "replay": "would replay its events",
    "replace": "would take it out of the way, and replay its events",
    "none": "would leave it as it is",
}


def verify(
    *,
    repair: Annotated[bool, Parameter(negative=())] = False,
    dry_run: Annotated[bool, Parameter(negative=())] = False,
    data_dir: DataDir = None,
    json: Json = False,
) -> int:
    """Check that every logged event reached every projection, and name what is missing or wrong.

    Exit code 4 if something is missing or wrong, 5 if a projection or the log has not caught up yet. The last line
    names projections that are not compared, as they have no verification.

    Args:
        repair: Replay what is missing to the projection that lacks it; its consumer must run.
        dry_run: With --repair: only say what it would do about each fault.

    Example:
        playhead verify --repair --dry-run
    """
    if dry_run and not repair:
        raise InvalidSetting("--dry-run says what --repair would do: add --repair")
    settings = load(data_dir)
    client = connect(servers(settings, postgres=False).redis_url, settings.redis_timeout)
    with closing(client), Progress("checking the log") as progress:
        compare = _repaired if repair and not dry_run else _compared
        found = compare(settings, client, progress)
    if json:
        print_json(found)
    else:
        _print(found, dry_run=dry_run)
    return CORRUPT if found.faults else BEHIND if any(found.behind.values()) or found.undecided else DONE


def _compared(settings: Settings, client: "Redis | RedisCluster", progress: Progress) -> Verified:
    with Round(settings, client, progress) as this:
        return this.compare()


def _repaired(settings: Settings, client: "Redis | RedisCluster", progress: Progress) -> Verified:
    """Repair, and compare again: one repair may show what another fault hid."""
    repaired = 0
    for _ in range(_ROUNDS):
        with Round(settings, client, progress) as this:
            found = this.compare()
            if not this.can_repair:
                break
            for moved in this.repair():
                progress.say(moved)
            repaired += found.repaired
    else:
        found = _compared(settings, client, progress)
    found.repaired = repaired
    return found


def _print(found: Verified, *, dry_run: bool) -> None:
    for fault in found.faults:
        would = f"; {_WOULD[fault.repair]}" if dry_run else ""
        print_lines(f"{fault.kind}: {_about(fault)}: {fault.problem} ({fault.file}){would}")
    for parked in found.parked:
        print_lines(f"parked: {parked.projection} {parked.subject} {parked.position}")
    for lost in found.lost:
        events = counted(lost.count, "event")
        print_lines(f"lost: {lost.projection}: {events} between {lost.after} and {lost.before}, {lost.reason}")
    for refused in found.refused:
        print_lines(f"refused, and not parked: {refused.projection} {refused.subject} {refused.position}")
    for remark in found.remarks:
        print_lines(remark)
    _print_uncompared(found)
    _print_compared(found)


def _print_uncompared(found: Verified) -> None:
    for one in found.undecided:
        print_lines(f"not compared: {one.projection} {one.key}: {one.reason}")
    for name, count in found.behind.items():
        if count:
            say(f"{name} has not applied {counted(count, 'event')} yet; see `playhead status`")
    for name in found.retired:
        print_lines(f"not compared: {name}: it is retired")
    for name in found.unchecked:
        print_lines(f"not compared: {name}: it declares no verification")
    for stream in found.undeclared:
        print_lines(f"not compared: the stream {stream}: no installed domain declares it")


def _print_compared(found: Verified) -> None:
    for name, what in found.compared.items():
        print_lines(f"compared: {name}: {what}")
    checked = ", ".join(f"{name} {count}" for name, count in found.checked.items())
    repaired = f", {found.repaired} repaired" if found.repaired else ""
    faults = counted(len(found.faults), "fault")
    print_lines(f"{counted(found.events, 'event')}; compared: {checked or 'none'}; {faults}{repaired}")
    every = len(found.checked) + len(found.unchecked) + len(found.retired)
    rest = f"; not compared: {', '.join(found.unchecked)}" if found.unchecked else ""
    parked = f", but {len(found.parked)} parked: `playhead parked list`" if found.parked else ""
    print_lines(f"verified {len(found.checked)} of {every} projections{parked}{rest}")


def _about(fault: FaultShown) -> str:
    return " ".join(part for part in (fault.projection, fault.subject or fault.key, fault.position) if part)
