"""Comparison: what a projection holds of all events of a key, with the log, while both go on."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import groupby
from pathlib import Path

import msgspec
from redis import Redis, RedisCluster

from playhead.comparison.base import LogComparison
from playhead.comparison.faults import Comparison, Fault, without_payload
from playhead.comparison.keys import Keys
from playhead.comparison.level import LogLevel, chunks
from playhead.projections.verification import Foldable, Inventory, Lack, Remark, Stray
from playhead.streams.events import Recorded
from playhead.streams.partitions import Partition
from playhead.streams.positions import Position

_TOGETHER = 200
"""Keys that are folded at once."""


class _Doubt(msgspec.Struct):
    """A key in doubt: what it lacks of the events that took effect, and the mark of what stands there."""

    lacks: Sequence[tuple[Partition, Lack]]
    standing: str | None
    place: str
    rank: str | None = None
    """Of the event of that mark, None as long as the log has none."""


class FoldComparison(LogComparison):
    """Compares, and repairs, a projection in which all events of a key say together what stands there.

    What stands there says of which event it is the last effect, by its mark, which is the event's rank. So the log is
    folded up to that event, once it has come to where the streams were: what is newer than the events that took effect
    is no fault.
    """

    def __init__(
        self,
        client: "Redis | RedisCluster",
        root: Path,
        name: str,
        partitions: Sequence[Partition],
        projection: Foldable,
    ) -> None:
        super().__init__(client, root, name, partitions)
        self._projection = projection
        self._doubts: dict[str, _Doubt] = {}
        self._wrong: dict[str, Lack] = {}

    def compare(
        self, reached: Mapping[Partition, Position], checkpoints: Mapping[Partition, Position], *, log_is_whole: bool
    ) -> Comparison:
        """Find what is missing or wrong; `reached` is where the projection was, asked before anything else."""
        with closing(Keys(self.partitions)) as keys:
            self._keep_due(reached, keys)
            for partition, lack in self._fold(keys.events()):
                doubt = self._doubts.setdefault(lack.key, _Doubt([], lack.standing, lack.place))
                doubt.lacks = [*doubt.lacks, (partition, without_payload(lack))]
            strays = list(self._list(keys))
        if not self._doubts:
            return Comparison(strays)
        level = LogLevel(self._client, self.partitions, checkpoints, is_whole=log_is_whole)
        level.wait()
        with closing(Keys(self.partitions)) as keys:
            for partition in self.partitions:
                self._keep_in_doubt(partition, reached[partition], level, keys)
            found: dict[str, list[tuple[Partition, Lack]]] = {}
            for partition, lack in self._fold(keys.events()):
                if lack.kind != "other":  # it has gone on since
                    found.setdefault(lack.key, []).append((partition, without_payload(lack)))
        return self._judge(strays, found, level.problem)

    def repair(self, faults: Sequence[Fault]) -> Iterator[tuple[Partition, Recorded]]:
        """Events to replay; what stands in their way is taken out of it, if it still is what was judged."""
        keys = {fault.key for fault in faults if fault.repair == "replay" or self._discard(fault)}
        for partition in self.partitions if keys else ():
            aside = self._set_aside(partition)
            for chunk in chunks(self._root, partition):
                for recorded in chunk:
                    if self._projection.key(recorded) in keys and str(recorded.position) not in aside:
                        yield partition, recorded

    def _discard(self, fault: Fault) -> bool:
        return fault.repair == "replace" and self._projection.discard(self._wrong[fault.key])

    def _keep_due(self, reached: Mapping[Partition, Position], keys: Keys) -> None:
        """Keep the events that took effect before the projection was looked at."""
        for partition in self.partitions:
            aside = self._set_aside(partition)
            for chunk in chunks(self._root, partition):
                for recorded in chunk:
                    within = recorded.position <= reached[partition]
                    self.checked, self.behind = self.checked + within, self.behind + (not within)
                    key = self._projection.key(recorded)
                    if key is not None and within and str(recorded.position) not in aside:
                        keys.add(key, partition, recorded)

    def _keep_in_doubt(self, partition: Partition, reached: Position, level: LogLevel, keys: Keys) -> None:
        """Keep the events of keys in doubt, up to the last one that stands there."""
        aside = self._set_aside(partition)
        for chunk in chunks(self._root, partition):
            level.note(partition, chunk)
            for recorded in chunk:
                key = self._projection.key(recorded)
                if key is None or (doubt := self._doubts.get(key)) is None:
                    continue
                rank = self._projection.rank(recorded)
                if rank == doubt.standing:
                    doubt.rank = rank
                is_told = recorded.position <= reached if doubt.standing is None else rank <= doubt.standing
                if is_told and str(recorded.position) not in aside:
                    keys.add(key, partition, recorded)

    def _list(self, keys: Keys) -> Iterator[Fault]:
        """Look at what the projection holds: strays are told, what has no event that took effect is in doubt."""
        for one in self._projection.held() if isinstance(self._projection, Inventory) else ():
            if isinstance(one, Remark):
                self.remarks.append(one.text)
            elif isinstance(one, Stray):
                if one.key not in self._doubts:
                    yield Fault.of_stray(one)
            elif not keys.has_events(one.key):
                self._doubts.setdefault(one.key, _Doubt([], one.mark, one.place))

    def _fold(self, events: Iterable[tuple[str, Partition, Recorded]]) -> Iterator[tuple[Partition, Lack]]:
        """What the projection holds otherwise, with the partition of the last event of its key."""
        partitions: dict[str, Partition] = {}
        for key, several in groupby(events, key=lambda one: one[0]):
            for _, partition, recorded in several:
                self._projection.follow(recorded)
                partitions[key] = partition
            if len(partitions) >= _TOGETHER:
                yield from [(partitions[lack.key], lack) for lack in self._projection.differences()]
                partitions = {}
        yield from [(partitions[lack.key], lack) for lack in self._projection.differences()]

    def _judge(
        self, strays: Sequence[Fault], found: Mapping[str, Sequence[tuple[Partition, Lack]]], problem: str | None
    ) -> Comparison:
        faults, undecided = list(strays), list[str]()
        for key, doubt in sorted(self._doubts.items()):
            lacks = found.get(key, ())
            if doubt.standing is not None and doubt.rank is None:
                if problem is None:
                    faults.append(Fault.of_unlogged(key, doubt.place, self._projection))
                else:
                    undecided.append(key)
            elif problem is not None and any(lack.repair == "replace" for _, lack in lacks):
                undecided.append(key)
            else:
                stale = [(partition, lack) for partition, lack in doubt.lacks if lack.kind == "stale"]
                for partition, lack in lacks or stale:
                    self._wrong[key] = lack
                    faults.append(Fault.of(partition, lack))
        return Comparison(faults, undecided, problem or "")
