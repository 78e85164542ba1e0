"""Controls: sinks and readers as one would write them first, which the faults must break."""

# ruff: noqa: SLF001  # a control takes a safeguard out where it is

import json
import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from pathlib import Path

import psycopg

from playhead.consumers.errors import HoldLost
from playhead.consumers.reading.delivery import Delivery, Failed
from playhead.consumers.reading.feed import Feed, Gap
from playhead.consumers.reading.group import Group
from playhead.consumers.reading.steps import Step
from playhead.consumers.work.holds import Holds, Taken
from playhead.projections.failures import classify
from playhead.streams import failpoints
from playhead.streams.entries import RawEntry
from playhead.streams.failpoints import Point
from playhead.streams.partitions import Partition
from playhead.streams.positions import Position
from playhead.streams.sinks import Batch, Failure, Outcome, Sink
from playhead.streams.storage import disk
from tests.faults.effects import kind_of, subject_of


class NaiveLines:
    """Appends a line an event and relies on the group's position alone; no lock, no tail, no epoch."""

    exclusive = False

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self.streams: tuple[str, ...] = (kind_of(name).stream,)
        self._path = path

    def open(self, partition: Partition, epoch: int) -> Position | None:
        return None

    def apply(self, batch: Batch) -> Outcome:
        with self._path.open("ab") as file:
            for recorded in batch.events:
                file.write(json.dumps([subject_of(recorded.event), recorded.event.id]).encode() + b"\n")
        return "applied"

    def settle(self) -> None: ...
    def close(self) -> None: ...

    def classify(self, error: Exception) -> Failure:
        return classify(error)


class NaiveRows(NaiveLines):
    """Writes a row an event in a transaction of its own, without a checkpoint in it."""

    def __init__(self, name: str, database: str) -> None:
        self.name = name
        self.streams = (kind_of(name).stream,)
        self._connection = psycopg.connect(database, autocommit=True)

    def apply(self, batch: Batch) -> Outcome:
        with self._connection.transaction():
            for recorded in batch.events:
                effect = (subject_of(recorded.event), recorded.event.id)
                self._connection.execute("INSERT INTO effects (subject, event_id) VALUES (%s, %s)", effect)
        return "applied"


class NaiveInserts(NaiveLines):
    """Writes a row an event, each by itself, and relies on its place in the batch not being lost."""

    def __init__(self, name: str, database: str) -> None:
        self.name = name
        self.streams = (kind_of(name).stream,)
        self._url = database
        self._connection: psycopg.Connection | None = None

    def apply(self, batch: Batch) -> Outcome:
        if self._connection is None or self._connection.closed:
            self._connection = psycopg.connect(self._url, autocommit=True)
        for recorded in batch.events:
            effect = (subject_of(recorded.event), recorded.event.id)
            self._connection.execute("INSERT INTO effects (subject, event_id) VALUES (%s, %s)", effect)
        return "applied"


class AcknowledgeFirst:
    """Moves the group before the batch is applied, as an automatic acknowledgement does."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def __getattr__(self, name: str) -> object:
        return getattr(self._sink, name)

    def open(self, partition: Partition, epoch: int) -> None:
        self._sink.open(partition, epoch)

    @staticmethod
    def install() -> None:
        apply = Delivery._apply

        async def acknowledge_first(self: Delivery, key, pairs) -> str | Failed:
            await self._group.advance(key, Position.parse(pairs[-1][0].entry_id))
            failpoints.reach(Point.AFTER_ACK)
            return await apply(self, key, pairs)

        Delivery._apply = acknowledge_first


def without_sync() -> None:
    """What was written is taken for durable."""

    def pretend(descriptor: int) -> int:
        return 0

    os.fsync = os.fdatasync = disk._syncfs = pretend


def without_lease() -> None:
    """Every process takes itself for the owner: the lease it holds is one of its own."""
    begin = Group.__init__

    def apart(self: Group, *arguments: object, **options: object) -> None:
        begin(self, *arguments, **options)
        self.lease_key += f":{os.getpid()}"

    Group.__init__ = apart


def without_sequence_check() -> None:
    """A gap in the sequence numbers means nothing."""
    Feed._bridge = go_on


async def go_on(self: Feed, gap: Gap) -> AsyncGenerator[Step, None]:
    for step in ():
        yield step


def without_event_ids() -> None:
    """Every entry is a new event."""

    async def repeated(self: Feed, found: object) -> frozenset[bytes]:
        return frozenset()

    Feed._repeated = repeated
    without_sequence_check()


def acknowledge_before_work() -> None:
    """A worker acknowledges an entry as it takes it, and holds nothing."""
    take = Holds.take

    async def taken(self: Holds, most: int) -> Taken:
        found = await take(self, most)
        for held in found.held:
            await self.finish(held.entry)
        return found

    async def kept(self: Holds, entries: Sequence[RawEntry] = ()) -> set[bytes]:
        return set()

    async def passed(self: Holds, *_: object, **__: object) -> None: ...

    finish = Holds.finish

    async def first_only(self: Holds, entry: RawEntry) -> None:
        with suppress(HoldLost):
            await finish(self, entry)

    Holds.take, Holds.keep, Holds.postpone, Holds.finish = taken, kept, passed, first_only
