"""Parking: which entries of a partition are set aside, and which wait behind them."""

from collections.abc import Sequence

import msgspec
import structlog

from playhead.consumers.reading.cursors import Cursors
from playhead.consumers.reading.group import Group
from playhead.consumers.reading.observer import Observer
from playhead.consumers.reading.parked import BEHIND, REFUSED, UNDECODABLE, Aside
from playhead.streams.entries import RawEntry, sequence_of, subject_of
from playhead.streams.errors import InvalidEvent
from playhead.streams.events import Recorded
from playhead.streams.positions import START, Position
from playhead.streams.telemetry import about

_FIELDS = 50_000
"""Fields that one script is given at most; the entries of a usual batch have fewer."""


class Refusal(msgspec.Struct, frozen=True):
    """Why the sink cannot take an event, whatever it holds."""

    reason: str


Judged = tuple[RawEntry, Recorded | InvalidEvent | Refusal]
"""An entry with its event, or with what is wrong with it."""


class Parking:
    """Sets entries of one partition aside for one sink, as long as its process holds the lease.

    Nobody else adds to what waits meanwhile, but for a Redis that lost it, after which `begin` is called again. So what
    waits is read once, and its number tells later whether an operator has dropped some of it.
    """

    def __init__(
        self, group: Group, cursors: Cursors, observe: Observer, *, name: str, batch_bytes: int, blocks: bool
    ) -> None:
        """`blocks`: later events of a subject wait behind a parked one."""
        self._group, self._cursors, self._observe = group, cursors, observe
        self._batch_bytes, self._blocks = batch_bytes, blocks
        self._live = group.partition.key
        self.waiting: dict[str, Position] = {}
        """Subjects with a parked event, and where the first one stands: events before it do not wait, to which a sink
        comes that is filled again.
        """
        self._dropped: set[bytes] = set()
        """Ids of entries that an operator gave up; they are read again if the sink's checkpoint is behind them."""
        self._set_aside: set[bytes] = set()
        """Positions that are parked, or were dropped: a replay passes over them."""
        self._log = structlog.get_logger().bind(projection=name, partition=str(group.partition))

    async def begin(self) -> None:
        """Look what is parked."""
        self._dropped = await self._group.dropped()
        self._set_aside = set(await self._group.set_aside())
        await self._look_who_waits()

    async def look_for_dropped(self) -> None:
        """Look whether an operator has dropped something."""
        if self.waiting and await self._group.count_parked_subjects() != len(self.waiting):
            await self._look_who_waits()

    def must_wait(self, key: str, entry: RawEntry, subject: str) -> bool:
        """Whether an event waits behind a parked one of its subject, or was given up itself."""
        return key == self._live and (entry.entry_id in self._dropped or self._waits(subject, entry.entry_id))

    def holds(self, recorded: Recorded) -> bool:
        """Whether a logged event waits behind a parked one, or is one, or was given up."""
        entry_id = str(recorded.position).encode()
        return entry_id in self._dropped or self._waits(recorded.event.subject, entry_id)

    def is_set_aside(self, recorded: Recorded) -> bool:
        """Whether an event was parked or dropped when we looked last, or we have parked it since."""
        return str(recorded.position).encode() in self._set_aside

    def first_bad(self, key: str, piece: Sequence[Judged]) -> list[Aside]:
        """The first entries, as many as are bad or must wait."""
        found: list[Aside] = []
        subjects: set[str] = set()
        size = fields = 0
        for entry, judged in piece:
            subject = subject_of(entry) or ""
            if isinstance(judged, InvalidEvent):
                aside = Aside(entry, str(judged), UNDECODABLE)
            elif subject in subjects or self.must_wait(key, entry, subject):
                aside = Aside(entry, "an earlier event of its subject is parked", BEHIND)
            elif isinstance(judged, Refusal):
                aside = Aside(entry, judged.reason, REFUSED)
            else:
                break
            size, fields = size + sum(map(len, entry.fields)), fields + len(entry.fields)
            if found and (size > self._batch_bytes or fields > _FIELDS):
                break
            found.append(aside)
            if key == self._live and self._blocks and subject:
                subjects.add(subject)
        return found

    async def set_aside(self, key: str, asides: Sequence[Aside]) -> int:
        """Park entries that follow one another, in one round trip; how many are dealt with.

        That are all, unless one was to wait behind an event that an operator has dropped: it need not wait any longer.
        """
        became = await self._group.park(key, asides, block=key == self._live and self._blocks)
        for done, (aside, how) in enumerate(zip(asides, became, strict=False)):
            if how == "need not wait":
                self.waiting.pop(aside.subject, None)
                self._dropped.discard(aside.entry.entry_id)
                return done
            self._cursors.move(key, Position.parse(aside.entry.entry_id), sequence_of(aside.entry))
            if key == self._live:
                self._set_aside.add(aside.entry.entry_id)
            if how == "parked":
                self._note(key, aside)
            else:
                self._log.warning("parked already, or dropped", reason_class=aside.reason_class, **about(aside.entry))
        return len(became)

    async def unpark(self, parked_id: str, subject: str, position: Position) -> None:
        """A parked event took effect at last; its subject flows if it was the last one."""
        if not await self._group.unpark(parked_id, subject, position):
            self.waiting.pop(subject, None)

    def _note(self, key: str, aside: Aside) -> None:
        if key == self._live and self._blocks and aside.subject:
            self.waiting.setdefault(aside.subject, Position.parse(aside.entry.entry_id))
        self._observe.parked(self._group.partition, aside.reason_class)
        # A sink's message may quote the payload.
        said = aside.reason.partition(":")[0] if aside.reason_class == REFUSED else aside.reason
        self._log.error("parked", reason=said, reason_class=aside.reason_class, **about(aside.entry))

    async def _look_who_waits(self) -> None:
        """The log waits for nothing: it keeps whatever it can read."""
        subjects = await self._group.parked_subjects() if self._blocks else set[str]()
        first = await self._group.first_parked() if subjects else {}
        self.waiting = {subject: first.get(subject, START) for subject in subjects}

    def _waits(self, subject: str, entry_id: bytes) -> bool:
        first = self.waiting.get(subject)
        return first is not None and Position.parse(entry_id) >= first
