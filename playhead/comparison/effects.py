"""Comparison: the rows or files of a projection, each of one event, with the log, while both go on."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import msgspec
from redis import Redis, RedisCluster

from playhead.comparison.base import LogComparison
from playhead.comparison.faults import Comparison, Fault, FaultKind, without_payload
from playhead.comparison.keys import Due, Keys, Noted
from playhead.comparison.level import LogLevel, chunks
from playhead.projections.verification import Grouped, Inventory, Lack, Remark, Stray, Verifiable
from playhead.streams.events import Recorded
from playhead.streams.partitions import Partition
from playhead.streams.positions import Position

_At = tuple[Partition, Position]


class _Doubt(msgspec.Struct):
    """A key in doubt: the event that should stand, and the newest event that the log has."""

    due: Due | None
    newest: _At | None = None
    newest_rank: str = ""


class EffectComparison(LogComparison):
    """Compares, and repairs, a projection in which the last event of a key says all.

    The projection goes on meanwhile, and may be further than the log. So whatever is not as the events say that took
    effect is only in doubt, until the log has come to where the streams were: then the log says which event stands
    there. A newer one is no fault. One that a level log does not have is the log's lack, and stays as it is.
    """

    def __init__(
        self,
        client: "Redis | RedisCluster",
        root: Path,
        name: str,
        partitions: Sequence[Partition],
        projection: Verifiable,
    ) -> None:
        super().__init__(client, root, name, partitions)
        self._projection = projection
        self._doubts: dict[str, _Doubt] = {}
        self._held: dict[tuple[str, str], str] = {}
        """Places of what the projection holds of events that were not seen, by key and mark."""
        self._marks: dict[tuple[str, str], str | None] = {}
        """By key and mark: the rank of the event of the log, None as long as it has none."""
        self._elsewhere: dict[str, str] = {}
        """Keys of events by marks that stand at another key."""
        self._lacks: dict[_At, Lack] = {}
        """What events lack that were looked at again."""
        self._whole: dict[str, Lack] = {}
        """By group: one of the events that lack it."""

    def compare(
        self, reached: Mapping[Partition, Position], checkpoints: Mapping[Partition, Position], *, log_is_whole: bool
    ) -> Comparison:
        """Find what is missing or wrong; `reached` is where the projection was, asked before anything else."""
        with closing(Keys(self.partitions)) as keys:
            for partition in self.partitions:
                self._look(partition, reached[partition], keys)
            self._doubts = {due.key: _Doubt(due) for due in keys.lacking()}
            strays = list(self._list(keys))
        if not self._doubts:
            return Comparison(strays)
        level = LogLevel(self._client, self.partitions, checkpoints, is_whole=log_is_whole)
        level.wait()
        for partition in self.partitions:
            self._place(partition, level)
        for partition in self.partitions:
            self._look_again(partition)
        return self._judge(strays, level.problem)

    def repair(self, faults: Sequence[Fault]) -> Iterator[tuple[Partition, Recorded]]:
        """Events to replay; what stands in their way is taken out of it, if it still is what was judged."""
        groups = {fault.key for fault in faults if fault.whole and self._projection.discard(self._whole[fault.key])}
        for partition in self.partitions:
            single = [fault for fault in faults if fault.repair != "none" and not fault.whole]
            wanted = {fault.position: fault for fault in single if fault.partition == partition}
            aside = self._set_aside(partition)
            for chunk in chunks(self._root, partition) if wanted or groups else ():
                lacks = self._projection.lacks([recorded for recorded in chunk if recorded.position in wanted])
                lacking = {lack.recorded.position: lack for lack in lacks}
                for recorded in chunk:
                    lack = lacking.get(recorded.position)
                    mends = lack is not None and wanted[recorded.position].is_still(lack) and self._make_room(lack)
                    if mends or (groups and str(recorded.position) not in aside and self._group(recorded) in groups):
                        yield partition, recorded

    def _make_room(self, lack: Lack) -> bool:
        return lack.repair == "replay" or self._projection.discard(lack)

    def _group(self, recorded: Recorded) -> str | None:
        return self._projection.group(recorded) if isinstance(self._projection, Grouped) else None

    def _look(self, partition: Partition, reached: Position, keys: Keys) -> None:
        """Note of each event whether it is shown."""
        aside = self._set_aside(partition)
        for chunk in chunks(self._root, partition):
            lacks = {lack.recorded.position: lack for lack in self._projection.lacks(chunk)}
            noted: list[Noted] = []
            for recorded in chunk:
                within = recorded.position <= reached
                self.checked, self.behind = self.checked + within, self.behind + (not within)
                if (key := self._projection.key(recorded)) is not None:
                    noted.append(
                        Noted(
                            key,
                            self._projection.rank(recorded),
                            self._projection.mark(recorded),
                            recorded.position,
                            is_due=within and str(recorded.position) not in aside,
                            is_shown=recorded.position not in lacks,
                            standing=lack.standing if (lack := lacks.get(recorded.position)) is not None else None,
                        )
                    )
            keys.note(partition, noted)

    def _list(self, keys: Keys) -> Iterator[Fault]:
        """Look at what the projection holds: strays are told, what is of no event that was seen is in doubt."""
        for key, doubt in self._doubts.items():
            if doubt.due is not None and doubt.due.standing is not None:
                self._marks[key, doubt.due.standing] = None
        for one in self._projection.held() if isinstance(self._projection, Inventory) else ():
            if isinstance(one, Remark):
                self.remarks.append(one.text)
            elif isinstance(one, Stray):
                if one.key not in self._doubts:
                    yield Fault.of_stray(one)
            elif not keys.shows(one.key, one.mark):
                self._held[one.key, one.mark] = one.place
                self._marks[one.key, one.mark] = None
                self._doubts.setdefault(one.key, _Doubt(None))

    def _place(self, partition: Partition, level: LogLevel) -> None:
        """Find the newest event of each key in doubt, and the events that marks are of."""
        aside, marks = self._set_aside(partition), {mark for _, mark in self._marks}
        for chunk in chunks(self._root, partition):
            level.note(partition, chunk)
            for recorded in chunk:
                if (key := self._projection.key(recorded)) is None:
                    continue
                rank, mark = self._projection.rank(recorded), self._projection.mark(recorded)
                if (key, mark) in self._marks:
                    self._marks[key, mark] = rank
                elif mark in marks:
                    self._elsewhere[mark] = key
                if (doubt := self._doubts.get(key)) is None:
                    continue
                at = partition, recorded.position
                if str(recorded.position) in aside:
                    doubt.due = None if doubt.due is not None and doubt.due.at == at else doubt.due
                elif rank >= doubt.newest_rank:
                    doubt.newest, doubt.newest_rank = at, rank

    def _look_again(self, partition: Partition) -> None:
        """Look once more at the events that should stand, and at the newest ones."""
        wanted = {doubt.due.at for doubt in self._doubts.values() if doubt.due is not None}
        wanted |= {doubt.newest for doubt in self._doubts.values() if doubt.newest is not None}
        positions = {position for found, position in wanted if found == partition}
        for chunk in chunks(self._root, partition) if positions else ():
            for lack in self._projection.lacks([recorded for recorded in chunk if recorded.position in positions]):
                self._lacks[partition, lack.recorded.position] = without_payload(lack)
                if lack.whole:
                    self._whole.setdefault(lack.key, self._lacks[partition, lack.recorded.position])

    def _judge(self, strays: Sequence[Fault], problem: str | None) -> Comparison:
        faults = list(strays)
        undecided, groups = set[str](), set[str]()
        unplaced = frozenset(key for key, mark in self._held if self._is_unlogged(key, mark))
        for key, doubt in self._doubts.items():
            if (fault := self._fault(key, doubt, unplaced)) is None:
                continue
            if fault.standing is None and fault.kind == "altered" and problem is not None:
                undecided.add(key)  # nothing tells which event it is of
            elif not fault.whole or fault.key not in groups:
                faults.append(fault)
                groups.update({fault.key} if fault.whole else ())
        for (key, mark), rank in self._marks.items():
            if rank is None and (place := self._place_of(key, mark)) is not None:
                if problem is not None:
                    undecided.add(key)
                elif mark in self._elsewhere:
                    problem_there = f"its event belongs to {self._elsewhere[mark]}; move it away"
                    faults.append(Fault(kind="stray", key=key, place=place, problem=problem_there))
                else:
                    faults.append(Fault.of_unlogged(key, place, self._projection))
        return Comparison(sorted(faults, key=lambda one: (one.key, one.kind)), sorted(undecided), problem or "")

    def _fault(self, key: str, doubt: _Doubt, unplaced: frozenset[str]) -> Fault | None:
        """What is wrong with an effect of an event that the log has; it may stand elsewhere for `unplaced` keys."""
        if doubt.due is None or doubt.newest is None:
            return None
        lack, newest = self._lacks.get(doubt.due.at), self._lacks.get(doubt.newest)
        if lack is None or newest is None or (lack.standing is not None and self._is_unlogged(key, lack.standing)):
            return None  # one of them is shown by now, or the log lacks what stands there
        if newest.whole and doubt.newest != doubt.due.at:
            return None  # a newer one stands, and what is kept of it with others may be about to be written
        if newest.kind == "altered":
            return Fault.of(doubt.newest[0], newest)
        kind = self._kind(doubt.due, lack, stands_elsewhere=newest.kind != "missing" or key in unplaced)
        return None if kind is None else Fault.of(doubt.due.partition, lack, kind)

    def _kind(self, due: Due, lack: Lack, *, stands_elsewhere: bool) -> FaultKind | None:
        match lack.kind:
            case "missing":
                return None if stands_elsewhere else "missing"
            case "other" if lack.standing is not None:
                rank = self._marks.get((due.key, lack.standing))
                return "stale" if rank is not None and rank < due.rank else None
            case "other":
                return "altered"
            case kind:
                return kind

    def _is_unlogged(self, key: str, mark: str) -> bool:
        """Whether the log has no event of a mark that was seen before; one that was not was written since."""
        return self._marks.get((key, mark), "") is None

    def _place_of(self, key: str, mark: str) -> str | None:
        """Where something of this mark stands, None if nothing does any more."""
        if (key, mark) in self._held:
            return self._held[key, mark]
        due = self._doubts[key].due
        lack = None if due is None else self._lacks.get(due.at)
        return lack.place if lack is not None and lack.standing == mark else None
