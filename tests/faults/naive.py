"""Controls: sinks and readers as one would write them first, which the faults must break."""

import json
from pathlib import Path

import psycopg

from consumers.group import Group
from consumers.reader import Reader
from streams.partitions import Partition
from streams.positions import Position
from streams.sinks import Batch, Outcome, Sink


class NaiveLines:
    """Appends a line an event and relies on the group's position alone; no lock, no tail, no epoch."""

    streams: tuple[str, ...] = ("jobs",)
    exclusive = False

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self._path = path

    def open(self, partition: Partition, epoch: int) -> Position | None:
        return None

    def apply(self, batch: Batch) -> Outcome:
        with self._path.open("ab") as file:
            for recorded in batch.events:
                file.write(json.dumps([recorded.event.subject, recorded.event.id]).encode() + b"\n")
        return "applied"

    def settle(self) -> None: ...
    def close(self) -> None: ...


class NaiveRows(NaiveLines):
    """Writes a row an event in a transaction of its own, without a checkpoint in it."""

    def __init__(self, name: str, database: str) -> None:
        self.name = name
        self._connection = psycopg.connect(database, autocommit=True)

    def apply(self, batch: Batch) -> Outcome:
        with self._connection.transaction():
            for recorded in batch.events:
                effect = (recorded.event.subject.removeprefix("job/"), recorded.event.id)
                self._connection.execute("INSERT INTO effects (job_id, event_id) VALUES (%s, %s)", effect)
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
        apply = Reader._apply

        async def acknowledge_first(self: Reader, key, pairs) -> None:
            if pairs:
                await self._group.advance(key, Position.parse(pairs[-1][0].entry_id))
            await apply(self, key, pairs)

        Reader._apply = acknowledge_first


def without_lease() -> None:
    """Every process takes itself for the owner."""

    async def acquire(self: Group) -> bool:
        self.epoch = 1
        return True

    async def advance(self: Group, stream_key: str, position: Position | None) -> None:
        if position is not None:
            await self._client.xgroup_setid(stream_key, self.name, str(position))

    Group.acquire, Group.advance = acquire, advance


def without_sequence_check() -> None:
    Reader._check_sequence = lambda self, recorded: None


def without_event_ids() -> None:
    """Every entry is a new event."""

    async def repeated(self: Reader, decoded: object) -> frozenset[bytes]:
        return frozenset()

    Reader._repeated = repeated
