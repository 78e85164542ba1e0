"""`playhead verify`: the log against every projection."""

from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter
from redis import Redis, RedisCluster
from redis.exceptions import ResponseError

from playhead.consumers.reading.parked import ParkedEvents
from playhead.consumers.reading.recovery import Lost, lost_key
from playhead.eventlog.reader import partitions, read_partition
from playhead.eventlog.reader import verify as verify_log
from playhead.eventlog.replay.replay import Replay, new_run
from playhead.projections.verification import Foldable, Lack, Searchable, Verifiable
from playhead.settings.servers import servers
from playhead.settings.settings import Settings, event_log, load
from playhead.streams.domains.discovery import installed
from playhead.streams.events import Recorded
from playhead.streams.partitions import Partition
from playhead.streams.positions import START, Position
from playhead.streams.redis.connections import connect
from playhead.terminal.exit_codes import BEHIND, CORRUPT, DONE
from playhead.terminal.options import DataDir, Json
from playhead.terminal.output import print_json, say
from playhead.wiring import make_verification

_CHUNK = 500
_ROUNDS = 3


class FaultShown(msgspec.Struct, frozen=True):
    """Something missing or wrong: of the log itself if `projection` is `log`. `key` is the job's
    id, after its day and a slash for a JSON file, the event's for an archive, or the organization's for a stray one.
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


class Verified(msgspec.Struct):
    """`checked` counts events by projection, `behind` those that it has not come to yet."""

    events: int = 0
    checked: dict[str, int] = {}
    behind: dict[str, int] = {}
    unchecked: list[str] = []
    faults: list[FaultShown] = []
    parked: list[ParkedShown] = []
    lost: list[Lost] = []
    repaired: int = 0


def verify(
    *, repair: Annotated[bool, Parameter(negative=())] = False, data_dir: DataDir = None, json: Json = False
) -> int:
    """Check that every logged event reached every projection, and name what is missing or wrong.

    Args:
        repair: Replay what is missing to the projection that lacks it; its consumer must run.

    Exit code 4 if something is missing or wrong, 5 if a projection has not caught up yet.

    Example:
        playhead verify --repair
    """
    settings = load(data_dir)
    with closing(connect(servers(settings, postgres=False).redis_url, settings.redis_timeout)) as client:
        found, lacks = _verify(settings, client)
        repaired = 0
        for _ in range(_ROUNDS if repair else 0):
            if not any(lack.replayed for each in lacks.values() for _, lack in each):
                break
            repaired += _repair(settings, client, lacks)
            found, lacks = _verify(settings, client)
        found.repaired = repaired
    if json:
        print_json(found)
    else:
        _print(found)
    return CORRUPT if found.faults else BEHIND if any(found.behind.values()) else DONE


_Lacks = dict[str, list[tuple[Partition, Lack]]]


def _verify(settings: Settings, client: "Redis | RedisCluster") -> tuple[Verified, _Lacks]:
    root = event_log(settings)
    log = verify_log(root)
    found = Verified(
        events=log.events, unchecked=[name for name, one in installed().projections.items() if one.verification is None]
    )
    for fault in log.faults:
        place = str(fault.file) if fault.line is None else f"{fault.file}:{fault.line}"
        position = None if fault.position is None else str(fault.position)
        partition = "/".join(fault.file.parts[-3:-1])
        found.faults.append(FaultShown(fault.kind, "log", partition, None, None, position, place, fault.problem))
    lacks: _Lacks = {}
    for name in installed().projections:
        verification = make_verification(name, settings, servers(settings))
        if verification is None:
            continue
        with closing(verification) as projection:
            for partition in partitions(root):
                if partition.stream in installed().reads[name]:
                    one = _Comparison(root, partition, name, projection, client, found)
                    lacks.setdefault(name, []).extend((partition, lack) for lack in one.run())
            if isinstance(projection, Searchable):
                found.faults += [
                    FaultShown("stray", name, None, None, stray.key, None, stray.place, stray.problem)
                    for stray in projection.strays()
                ]
    redis: Any = client
    for partition in partitions(root):
        found.lost += [msgspec.json.decode(raw, type=Lost) for raw in redis.lrange(lost_key(partition), 0, -1)]
    return found, lacks


class _Comparison:
    """One projection on one partition."""

    def __init__(
        self,
        root: Path,
        partition: Partition,
        name: str,
        projection: Verifiable | Foldable,
        client: "Redis | RedisCluster",
        found: Verified,
    ) -> None:
        self._root, self._partition, self._name, self._projection = root, partition, name, projection
        self._client, self._found = client, found

    def run(self) -> list[Lack]:
        """Compare; gives what can be repaired."""
        reached = _position(self._client, self._name, self._partition)
        parked = {one.position: one for one in ParkedEvents(self._client, self._name, self._partition)}
        found = self._found
        found.parked += [
            ParkedShown(self._name, str(self._partition), one.subject, one.position) for one in parked.values()
        ]
        if isinstance(self._projection, Foldable):
            lacks = self._folded(self._projection, reached, frozenset(parked))
        else:
            lacks = self._by_last(self._projection, reached, frozenset(parked))
        found.faults += [self._fault(lack) for lack in lacks]
        return lacks

    def _folded(self, projection: Foldable, reached: Position, parked: frozenset[str]) -> list[Lack]:
        for within in self._within(reached):
            for recorded in within:
                if str(recorded.position) not in parked:
                    projection.follow(recorded)
        return list(projection.differences())

    def _by_last(self, projection: Verifiable, reached: Position, parked: frozenset[str]) -> list[Lack]:
        doubtful: set[str] = set()
        for within in self._within(reached):
            doubtful.update(lack.key for lack in projection.lacks(within))
        newest: dict[str, tuple[str, Recorded]] = {}
        for chunk in self._chunks() if doubtful else ():
            for recorded in chunk:
                key = projection.key(recorded)
                if key in doubtful and recorded.position <= reached and str(recorded.position) not in parked:
                    rank = projection.rank(recorded)
                    if key not in newest or newest[key][0] < rank:
                        newest[key] = rank, recorded
        # A newer event of the same job may have come in since, so what is still wrong now is wrong.
        return list(projection.lacks([recorded for _, recorded in newest.values()]))

    def _within(self, reached: Position) -> Iterator[list[Recorded]]:
        """What the projection has come to, and count it."""
        checked = behind = 0
        for chunk in self._chunks():
            within = [recorded for recorded in chunk if recorded.position <= reached]
            checked, behind = checked + len(within), behind + len(chunk) - len(within)
            yield within
        found = self._found
        found.checked[self._name] = found.checked.get(self._name, 0) + checked
        found.behind[self._name] = found.behind.get(self._name, 0) + behind

    def _chunks(self) -> Iterator[list[Recorded]]:
        events = read_partition(self._root, self._partition, None, strict=False)
        while chunk := list(islice(events, _CHUNK)):
            yield chunk

    def _fault(self, lack: Lack) -> FaultShown:
        return FaultShown(
            lack.kind,
            self._name,
            str(self._partition),
            lack.recorded.event.subject,
            lack.key,
            str(lack.recorded.position),
            lack.place,
            lack.problem,
        )


def _repair(settings: Settings, client: "Redis | RedisCluster", lacks: _Lacks) -> int:
    """Replay what is lacking to the projection that lacks it: its own process applies it, so nothing is fenced."""
    count = 0
    for name, each in lacks.items():
        if not any(lack.replayed for _, lack in each):
            continue
        projection = make_verification(name, settings, servers(settings))
        assert projection is not None, "it found what is lacking"
        with closing(projection):
            for _, lack in each:
                projection.discard(lack)
            wanted = _wanted(settings.event_log_dir, projection, each)
        replay = Replay(client, new_run(), dict.fromkeys(installed().reads[name], (name,)))
        count += replay.send(wanted) - replay.finish()
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


def _position(client: "Redis | RedisCluster", name: str, partition: Partition) -> Position:
    redis: Any = client
    try:
        groups = redis.xinfo_groups(partition.key)
    except ResponseError as error:
        if "no such key" not in str(error):
            raise
        return START
    found = (Position.parse(group["last-delivered-id"]) for group in groups if group["name"] == name.encode())
    return next(found, START)


def _print(found: Verified) -> None:
    for fault in found.faults:
        about = " ".join(part for part in (fault.projection, fault.subject or fault.key, fault.position) if part)
        print(f"{fault.kind}: {about}: {fault.problem} ({fault.file})")
    for parked in found.parked:
        print(f"parked: {parked.projection} {parked.subject} {parked.position}")
    for lost in found.lost:
        print(f"lost: {lost.projection}: {lost.count} events between {lost.after} and {lost.before}, {lost.reason}")
    for name, count in found.behind.items():
        if count:
            say(f"{name} has not applied {count} events yet; see `playhead status`")
    for name in found.unchecked:
        say(f"{name} is not compared with the log")
    checked = ", ".join(f"{name} {count}" for name, count in found.checked.items())
    repaired = f", {found.repaired} repaired" if found.repaired else ""
    print(f"{found.events} events; compared: {checked or 'none'}; {len(found.faults)} faults{repaired}")
