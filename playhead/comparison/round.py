"""A round of `playhead verify`: the log against every projection, and what a repair does about it."""

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from functools import partial
from typing import Any, Self

import msgspec
from redis import Redis, RedisCluster

from playhead.checks.checkpoints import Ahead, checkpoints, find_ahead
from playhead.checks.marks import marks_of_files
from playhead.checks.undeclared import undeclared_streams
from playhead.checks.unlogged import UnloggedShown, find_unlogged
from playhead.comparison.effects import EffectComparison
from playhead.comparison.faults import Fault
from playhead.comparison.files import FileComparison
from playhead.comparison.folds import FoldComparison
from playhead.comparison.level import partitions_of
from playhead.comparison.verified import FaultShown, ParkedShown, Undecided, Verified
from playhead.consumers.halts import Halt, read_halts, refuse_halted
from playhead.consumers.reading.parked import ParkedEvents
from playhead.consumers.reading.recovery import Lost, lost_key
from playhead.eventlog.reader import Fault as LogFault
from playhead.eventlog.reader import partitions
from playhead.eventlog.reader import verify as verify_log
from playhead.eventlog.replay.replay import Replay, new_run
from playhead.projections.file_verification import FileVerification
from playhead.projections.postgres import connect as connect_postgres
from playhead.projections.verification import Foldable, Inventory, Verifiable
from playhead.settings.producers import partition_counts
from playhead.settings.servers import servers
from playhead.settings.settings import Settings, event_log
from playhead.streams.domains.discovery import installed
from playhead.streams.events import Event, Recorded
from playhead.streams.partitions import Partition
from playhead.streams.positions import Position
from playhead.streams.redis.stream_info import group_position
from playhead.terminal.progress import Progress
from playhead.wiring import make_verification

_Comparison = EffectComparison | FoldComparison | FileComparison


class Round:
    """Compares every projection once. A repair goes on from what was found, as long as the round is open."""

    def __init__(self, settings: Settings, client: "Redis | RedisCluster", progress: Progress) -> None:
        self._settings, self._client, self._root = settings, client, event_log(settings)
        self._progress = progress
        self.found = Verified()
        self._stack = ExitStack()
        self._wrong: dict[str, tuple[_Comparison, Sequence[Fault]]] = {}
        self._log_is_whole = True
        self._checkpoints: Mapping[str, Mapping[Partition, Position]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def can_repair(self) -> bool:
        """Whether there is anything that a replay mends."""
        return bool(self._wrong)

    def compare(self) -> Verified:
        """Compare the log with itself, then every projection with the log."""
        self._progress.begin("checking the log")
        log = verify_log(self._root, self._progress.advanced)
        self.found.events, self._log_is_whole = log.events, not log.faults
        self.found.faults += map(_of_log, log.faults)
        reached = servers(self._settings)
        with closing(connect_postgres(reached.database_url, "playhead-verify", schema=reached.schema)) as connection:
            files = list(marks_of_files(self._settings, reached))  # what it cannot read is said below
            self.found.faults += map(_of_checkpoint, find_ahead(self._client, connection, files))
            self._checkpoints = checkpoints(connection)
        self.found.undeclared = undeclared_streams(self._root)
        halts = read_halts(self._client)
        for name in installed().projections:
            if name in halts and halts[name].state == "retired":
                self.found.retired.append(name)
                continue
            self._progress.begin(f"comparing {name}")
            self._compare(name)
        self._find_parked(halts)
        unlogged = find_unlogged(self._client, self._settings, reached, self._progress.say)
        self.found.faults += [_of_end(one, self._settings) for one in unlogged]
        redis: Any = self._client
        for partition in partitions(self._root):
            lost = redis.lrange(lost_key(partition), 0, -1)
            self.found.lost += [msgspec.json.decode(raw, type=Lost) for raw in lost]
        return self.found

    def _find_parked(self, halts: Mapping[str, Halt]) -> None:
        """What took no effect, in any consumer that is not retired, compared or not."""
        counts = partition_counts(self._client, self._settings)
        for name, streams in installed().reads.items():
            if name not in halts or halts[name].state != "retired":
                for partition in partitions_of(self._root, streams, counts.every(streams)):
                    self.found.parked += _parked(self._client, name, partition)

    def repair(self) -> Iterator[str]:
        """Replay what is missing to the projection that lacks it: its own process applies it, so nothing is fenced.

        Gives what to say of what was taken out of the way; `found.repaired` counts.

        Raises:
            InvalidSetting: its consumer is paused.
        """
        refuse_halted(self._client, self._wrong)
        for name, (comparison, faults) in self._wrong.items():
            self._progress.begin(f"repairing {name}")
            replay = Replay(self._client, new_run(), dict.fromkeys(installed().reads[name], (name,)))
            ids = set[str]()
            sent = replay.send(_noting(comparison.repair(faults), ids))
            for place in comparison.moved:
                yield f"{name}: what stood there is now {place}"
            self.found.repaired += min(len(faults), sent - replay.finish(partial(_is_one_of, ids)))

    def _compare(self, name: str) -> None:
        verification = make_verification(name, self._settings, servers(self._settings))
        if verification is None:
            self.found.unchecked.append(name)
            return
        self._stack.enter_context(closing(verification))
        streams = installed().reads[name]
        numbered = partition_counts(self._client, self._settings).every(streams)
        of_name = partitions_of(self._root, streams, numbered)
        reached = {partition: group_position(self._client, partition, name) for partition in of_name}
        comparison = self._comparison(name, of_name, verification)
        result = comparison.compare(reached, self._checkpoints.get(name, {}), log_is_whole=self._log_is_whole)
        found = self.found
        found.checked[name], found.behind[name] = comparison.checked, comparison.behind
        known = isinstance(verification, Inventory | FileVerification)
        found.compared[name] = verification.compares if known else "what its verification compares"
        found.faults += [_of_projection(name, fault) for fault in result.faults]
        found.remarks += [f"{name}: {remark}" for remark in comparison.remarks]
        found.undecided += [Undecided(name, key, result.reason) for key in result.undecided]
        if isinstance(verification, FileVerification):
            found.refused += [
                ParkedShown(name, str(one.partition), one.subject, str(one.position)) for one in verification.refused
            ]
        if mended := [fault for fault in result.faults if fault.repair != "none"]:
            self._wrong[name] = comparison, mended

    def _comparison(
        self, name: str, of_name: Sequence[Partition], verification: Verifiable | Foldable | FileVerification
    ) -> _Comparison:
        common = self._client, self._root, name, of_name
        if isinstance(verification, FileVerification):
            return FileComparison(*common, verification)
        if isinstance(verification, Foldable):
            return FoldComparison(*common, verification)
        return EffectComparison(*common, verification)


def _noting(events: Iterable[tuple[Partition, Recorded]], ids: set[str]) -> Iterator[tuple[Partition, Recorded]]:
    for partition, recorded in events:
        ids.add(recorded.event.id)
        yield partition, recorded


def _is_one_of(ids: Container[str], event: Event) -> bool:
    return event.id in ids


def _parked(client: "Redis | RedisCluster", name: str, partition: Partition) -> Iterator[ParkedShown]:
    for one in ParkedEvents(client, name, partition):
        yield ParkedShown(name, str(partition), one.subject, one.position)


def _of_log(fault: LogFault) -> FaultShown:
    place = str(fault.file) if fault.line is None else f"{fault.file}:{fault.line}"
    position = None if fault.position is None else str(fault.position)
    return FaultShown(fault.kind, "log", "/".join(fault.file.parts[-3:-1]), None, None, position, place, fault.problem)


def _of_projection(name: str, fault: Fault) -> FaultShown:
    return FaultShown(
        fault.kind,
        name,
        None if fault.partition is None else str(fault.partition),
        fault.subject,
        fault.key,
        None if fault.position is None else str(fault.position),
        fault.place,
        fault.problem,
        fault.repair,
    )


def _of_checkpoint(one: Ahead) -> FaultShown:
    """A checkpoint that is ahead of its stream: what is appended until then would have no effect."""
    problem = f"{one.problem}; {one.advice}"
    at = str(one.partition), None, None, str(one.position)
    place = ".staging/checkpoints" if one.in_files else "playhead_checkpoints"
    return FaultShown("ahead", one.projection, *at, place, problem)


def _of_end(one: UnloggedShown, settings: Settings) -> FaultShown:
    """Events that the log lacks at its end."""
    problem = f"{one.problem}; {one.advice(settings)}"
    return FaultShown("unlogged", "log", one.partition, None, None, one.before, None, problem)
