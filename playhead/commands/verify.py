"""`playhead verify`: the log against every projection."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter
from redis import Redis, RedisCluster

from playhead.checks.checkpoints import find_ahead
from playhead.checks.marks import marks_of_files
from playhead.checks.undeclared import undeclared_streams
from playhead.checks.unlogged import find_unlogged
from playhead.comparison.files import FileComparison
from playhead.comparison.partitions import PartitionComparison
from playhead.consumers.reading.parked import ParkedEvents
from playhead.consumers.reading.recovery import Lost, lost_key
from playhead.eventlog.reader import partitions, read_partition
from playhead.eventlog.reader import verify as verify_log
from playhead.eventlog.replay.replay import Replay, new_run
from playhead.projections.file_verification import FileFault, FileVerification
from playhead.projections.postgres import connect as connect_postgres
from playhead.projections.verification import Foldable, Lack, Searchable, Verifiable
from playhead.settings.producers import partition_counts
from playhead.settings.servers import servers
from playhead.settings.settings import Settings, event_log, load
from playhead.streams.domains.discovery import installed
from playhead.streams.events import Recorded
from playhead.streams.partitions import Partition
from playhead.streams.redis.connections import connect
from playhead.streams.redis.stream_info import group_position
from playhead.terminal.exit_codes import BEHIND, CORRUPT, DONE
from playhead.terminal.options import DataDir, Json
from playhead.terminal.output import counted, print_json, say
from playhead.wiring import make_verification

_ROUNDS = 3


class FaultShown(msgspec.Struct, frozen=True):
    """Something missing or wrong: of the log itself if `projection` is `log`. `key` is the projection's own name of the
    row or file, as its verification gives it.
    """

    kind: str
    projection: str
    partition: str | None
    subject: str | None
    key: str | None
    position: str | None
    file: str | None
    problem: str


class ParkedShown(msgspec.Struct, frozen=True):
    """An event that a projection set aside, which is why it lacks it."""

    projection: str
    partition: str
    subject: str
    position: str


class Undecided(msgspec.Struct, frozen=True):
    """A file that holds more than the log gives, while the log may lack events: `reason` says why."""

    projection: str
    key: str
    reason: str


class Verified(msgspec.Struct):
    """`checked` counts events by projection, `behind` those that it has not come to yet. `unchecked` names projections
    that nothing compares with the log, `undeclared` streams that no installed domain declares, `refused` events that a
    projection does not take, though they are not parked.
    """

    events: int = 0
    checked: dict[str, int] = {}
    behind: dict[str, int] = {}
    unchecked: list[str] = []
    undeclared: list[str] = []
    faults: list[FaultShown] = []
    undecided: list[Undecided] = []
    parked: list[ParkedShown] = []
    refused: list[ParkedShown] = []
    lost: list[Lost] = []
    repaired: int = 0

    def count(self, projection: str, checked: int, behind: int) -> None:
        """Count events of a projection."""
        self.checked[projection] = self.checked.get(projection, 0) + checked
        self.behind[projection] = self.behind.get(projection, 0) + behind


def verify(
    *, repair: Annotated[bool, Parameter(negative=())] = False, data_dir: DataDir = None, json: Json = False
) -> int:
    """Check that every logged event reached every projection, and name what is missing or wrong.

    Args:
        repair: Replay what is missing to the projection that lacks it; its consumer must run.

    Exit code 4 if something is missing or wrong, 5 if a projection or the log has not caught up yet. The last line
    names projections that are not compared, as they have no verification.

    Example:
        playhead verify --repair
    """
    settings = load(data_dir)
    with closing(connect(servers(settings, postgres=False).redis_url, settings.redis_timeout)) as client:
        found, lacks, files = _verify(settings, client)
        repaired = 0
        for _ in range(_ROUNDS if repair else 0):
            wrong = any(lack.replayed for each in lacks.values() for _, lack in each)
            if not wrong and not any(fault.repair != "none" for each in files.values() for fault in each):
                break
            repaired += _repair(settings, client, lacks) + _repair_files(settings, client, files)
            found, lacks, files = _verify(settings, client)
        found.repaired = repaired
    if json:
        print_json(found)
    else:
        _print(found)
    return CORRUPT if found.faults else BEHIND if any(found.behind.values()) or found.undecided else DONE


_Lacks = dict[str, list[tuple[Partition, Lack]]]
_Files = dict[str, Sequence[FileFault]]


def _verify(settings: Settings, client: "Redis | RedisCluster") -> tuple[Verified, _Lacks, _Files]:
    root = event_log(settings)
    log = verify_log(root)
    found = Verified(events=log.events)
    for fault in log.faults:
        place = str(fault.file) if fault.line is None else f"{fault.file}:{fault.line}"
        position = None if fault.position is None else str(fault.position)
        partition = "/".join(fault.file.parts[-3:-1])
        found.faults.append(FaultShown(fault.kind, "log", partition, None, None, position, place, fault.problem))
    found.faults += _ahead(settings, client)
    found.undeclared = undeclared_streams(root)
    lacks: _Lacks = {}
    files: _Files = {}
    for name in installed().projections:
        verification = make_verification(name, settings, servers(settings))
        if verification is None:
            found.unchecked.append(name)
            continue
        with closing(verification) as projection:
            if isinstance(projection, FileVerification):
                files[name] = _compare_files(settings, client, name, projection, found)
                continue
            lacks[name] = []
            for partition in partitions(root):
                if partition.stream in installed().reads[name]:
                    found.parked += _parked(client, name, partition)
                    compared = PartitionComparison(client, root, name, partition).compare(projection)
                    found.count(name, compared.checked, compared.behind)
                    found.faults += [_fault(name, partition, lack) for lack in compared.lacks]
                    lacks[name] += [(partition, lack) for lack in compared.lacks]
            if isinstance(projection, Searchable):
                found.faults += [
                    FaultShown("stray", name, None, None, stray.key, None, stray.place, stray.problem)
                    for stray in projection.strays()
                ]
    found.faults += [
        FaultShown("unlogged", "log", one.partition, None, None, one.before, None, f"{one.problem}; {one.advice}")
        for one in find_unlogged(client, settings, servers(settings), say)
    ]
    redis: Any = client
    for partition in partitions(root):
        found.lost += [msgspec.json.decode(raw, type=Lost) for raw in redis.lrange(lost_key(partition), 0, -1)]
    return found, lacks, files


def _compare_files(
    settings: Settings, client: "Redis | RedisCluster", name: str, projection: FileVerification, found: Verified
) -> Sequence[FileFault]:
    """Compare files, which may each come from events of several partitions."""
    comparison = _file_comparison(settings, client, name)
    reached = {partition: group_position(client, partition, name) for partition in comparison.partitions}
    for partition in comparison.partitions:
        found.parked += _parked(client, name, partition)
    result = comparison.compare(
        projection, reached, log_is_whole=not any(one.projection == "log" for one in found.faults)
    )
    found.count(name, comparison.checked, comparison.behind)
    found.faults += [
        FaultShown(fault.kind, name, None, None, fault.key, None, fault.place, fault.problem) for fault in result.faults
    ]
    found.undecided += [Undecided(name, key, result.reason) for key in result.undecided]
    found.refused += [
        ParkedShown(name, str(one.partition), one.subject, str(one.position)) for one in projection.refused
    ]
    return result.faults


def _file_comparison(settings: Settings, client: "Redis | RedisCluster", name: str) -> FileComparison:
    streams = installed().reads[name]
    numbered = partition_counts(client, settings).every(streams)
    return FileComparison(client, event_log(settings), name, streams, numbered=numbered)


def _parked(client: "Redis | RedisCluster", name: str, partition: Partition) -> Iterator[ParkedShown]:
    for one in ParkedEvents(client, name, partition):
        yield ParkedShown(name, str(partition), one.subject, one.position)


def _fault(name: str, partition: Partition, lack: Lack) -> FaultShown:
    about = lack.recorded
    return FaultShown(
        lack.kind,
        name,
        str(partition),
        about.event.subject,
        lack.key,
        str(about.position),
        lack.place,
        lack.problem,
    )


def _ahead(settings: Settings, client: "Redis | RedisCluster") -> list[FaultShown]:
    """Checkpoints that are ahead of their streams: what is appended until then would have no effect."""
    with closing(connect_postgres(servers(settings).database_url, "playhead-verify")) as connection:
        return [
            FaultShown(
                "ahead",
                one.projection,
                str(one.partition),
                None,
                None,
                str(one.position),
                ".staging/checkpoints" if one.in_files else "playhead_checkpoints",
                f"{one.problem}; {one.advice}",
            )
            for one in find_ahead(client, connection, list(marks_of_files(settings, servers(settings))))
        ]


def _repair(settings: Settings, client: "Redis | RedisCluster", lacks: _Lacks) -> int:
    """Replay what is lacking to the projection that lacks it: its own process applies it, so nothing is fenced."""
    count = 0
    for name, each in lacks.items():
        if not any(lack.replayed for _, lack in each):
            continue
        projection = make_verification(name, settings, servers(settings))
        assert projection is not None, "it found what is lacking"
        assert not isinstance(projection, FileVerification), "its files are repaired apart"
        with closing(projection):
            for _, lack in each:
                projection.discard(lack)
            wanted = _wanted(settings.event_log_dir, projection, each)
        replay = Replay(client, new_run(), dict.fromkeys(installed().reads[name], (name,)))
        count += replay.send(wanted) - replay.finish()
    return count


def _repair_files(settings: Settings, client: "Redis | RedisCluster", files: _Files) -> int:
    """Replay every event of a file that is wrong; one that holds something else is taken out of the way first."""
    count = 0
    for name, faults in files.items():
        mended = [fault for fault in faults if fault.repair != "none"]
        if not mended:
            continue
        projection = make_verification(name, settings, servers(settings))
        assert isinstance(projection, FileVerification), "it found what is wrong"
        with closing(projection):
            replay = Replay(client, new_run(), dict.fromkeys(installed().reads[name], (name,)))
            for place in _file_comparison(settings, client, name).repair(projection, mended, replay):
                say(f"{name}: the file that was there is now {place}")
            replay.finish()
        count += len(mended)
    return count


def _wanted(
    root: Path, projection: Verifiable | Foldable, lacks: list[tuple[Partition, Lack]]
) -> list[tuple[Partition, Recorded]]:
    """The events to replay, in order."""
    wanted = [(partition, lack.recorded) for partition, lack in lacks if lack.replayed and not lack.whole]
    whole = {(partition, lack.key) for partition, lack in lacks if lack.whole}
    for partition in sorted({partition for partition, _ in whole}):
        events = read_partition(root, partition, None, strict=False)
        wanted += [(partition, one) for one in events if (partition, projection.key(one)) in whole]
    return sorted(wanted, key=lambda one: (one[0], one[1].position))


def _print(found: Verified) -> None:
    for fault in found.faults:
        about = " ".join(part for part in (fault.projection, fault.subject or fault.key, fault.position) if part)
        print(f"{fault.kind}: {about}: {fault.problem} ({fault.file})")
    for parked in found.parked:
        print(f"parked: {parked.projection} {parked.subject} {parked.position}")
    for lost in found.lost:
        events = counted(lost.count, "event")
        print(f"lost: {lost.projection}: {events} between {lost.after} and {lost.before}, {lost.reason}")
    for refused in found.refused:
        print(f"refused, and not parked: {refused.projection} {refused.subject} {refused.position}")
    for one in found.undecided:
        print(f"not compared: {one.projection} {one.key}: {one.reason}")
    for name, count in found.behind.items():
        if count:
            say(f"{name} has not applied {counted(count, 'event')} yet; see `playhead status`")
    for name in found.unchecked:
        print(f"not compared: {name}: it declares no verification")
    for stream in found.undeclared:
        print(f"not compared: the stream {stream}: no installed domain declares it")
    checked = ", ".join(f"{name} {count}" for name, count in found.checked.items())
    repaired = f", {found.repaired} repaired" if found.repaired else ""
    faults = counted(len(found.faults), "fault")
    print(f"{counted(found.events, 'event')}; compared: {checked or 'none'}; {faults}{repaired}")
    every = len(found.checked) + len(found.unchecked)
    rest = f"; not compared: {', '.join(found.unchecked)}" if found.unchecked else ""
    print(f"verified {len(found.checked)} of {every} projections{rest}")
