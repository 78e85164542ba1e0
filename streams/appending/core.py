"""What both producers are: their settings, and the way of a batch to Redis, or to the spool."""

import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Self, TypedDict

import msgspec
from redis import Redis, RedisCluster
from redis import asyncio as redis_asyncio

from playhead.streams.appending.appender import DEFAULT_WINDOW, Appender, AppendSettings, replicas_of
from playhead.streams.appending.flusher import Flusher
from playhead.streams.appending.spool import Spool
from playhead.streams.domains.catalogue import Catalogue
from playhead.streams.domains.discovery import installed
from playhead.streams.domains.domain import resolve
from playhead.streams.domains.event_types import event_type_of
from playhead.streams.errors import InvalidEvent, InvalidSetting, PartitionsChanged, RedisUnavailable
from playhead.streams.events import DEFAULT_SIZE_LIMIT, Event, check, check_attributes, encode_data, new_event
from playhead.streams.names import ProducerVariable
from playhead.streams.partitions import MOST_PARTITIONS, Partition, partition_of
from playhead.streams.positions import Position
from playhead.streams.printable import quoted
from playhead.streams.redis.connections import DEFAULT_TIMEOUT, FORMS, RedisAddress, connect
from playhead.streams.redis.exposure import redis_exposure
from playhead.streams.storage.blobs import Blobs
from playhead.streams.storage.exposure import bucket_exposure
from playhead.streams.telemetry import in_context, sending

BATCH_EVENTS, BATCH_BYTES = 500, 8 * 1024 * 1024
"""What one round trip has at most; an event that is larger travels alone."""

_RETRIES, _SPOOL_RETRIES = 5, 1
_ALLOW = f"set {ProducerVariable.ALLOW_INSECURE}=true, or pass allow_insecure=True,"
_YES, _NO = {"true", "1", "yes", "on"}, {"", "false", "0", "no", "off"}


class Attributes(TypedDict, total=False):
    """Further attributes of an event."""

    dataschema: str | None
    correlationid: str | None
    causationid: str | None
    traceparent: str | None
    tracestate: str | None


Send = Callable[[Partition, Sequence[Event]], Sequence[Position]]


def checked(event: Event, size_limit: int, catalogue: Catalogue | None = None) -> Event:
    """Refuse an event that a stream must not hold; one of a declared type says which version its payload is of.

    Types are those of the catalogue, by default of the installed domains.

    Raises:
        EventTooLarge: its payload is over the limit.
        InvalidEvent: names the field.
    """
    declared = (catalogue or installed()).types.get(event.type)
    if declared is None:
        check(event, size_limit)
        return event
    check_attributes(event, size_limit)
    if event.dataschema is None and declared.version > 1:  # without one it is of version 1
        event = msgspec.structs.replace(event, dataschema=declared.dataschema)
    declared.check(event)
    return event


def derived_subject(type: str, data: bytes, dataschema: str | None = None) -> str:
    """The subject of an event of a declared type, made from its payload.

    Raises:
        InvalidEvent: no domain declares the type, or the payload is not of it.
    """
    declared = installed().types.get(type)
    if declared is None:
        raise InvalidEvent("subject", f"is missing, and no domain declares {quoted(type)}: pass one, such as job/1")
    made = new_event(type, subject="-", data=data, dataschema=dataschema or declared.dataschema)
    return declared.subject_of(declared.decode(made))


def stream_of(event: Event) -> str:
    """The stream that an event goes to.

    Raises:
        InvalidEvent: no domain declares its type, and it names none.
    """
    return installed().stream_of(event.type, event.stream)


class Batch(msgspec.Struct, frozen=True):
    """Events of one partition that are one round trip, and where they stand in the call that appends them."""

    partition: Partition
    events: list[Event]
    indexes: list[int]


class Submission:
    """The checked events of one call, grouped by partition, and the positions they get."""

    def __init__(self, count_of: Callable[[str], int]) -> None:
        """`count_of` gives a stream's number of partitions."""
        self.positions: list[Position | None] = []
        self._count_of = count_of
        self._events: list[Event] = []
        self._indexes: defaultdict[Partition, list[int]] = defaultdict(list)

    def add(self, event: Event, *, spooled: bool = False) -> None:
        """Add an event behind the others; the stream of one from the spool was looked up when it went there."""
        stream = event.stream if spooled and event.stream else stream_of(event)
        self._indexes[partition_of(stream, event.subject, self._count_of(stream))].append(len(self._events))
        self._events.append(event)
        self.positions.append(None)

    def batches(self) -> Iterator[Batch]:
        """Cut it into what is sent at once; the order of a partition is kept."""
        for partition, indexes in self._indexes.items():
            start, size = 0, 0
            for number, index in enumerate(indexes):
                length = len(self._events[index].data)
                if number > start and (size + length > BATCH_BYTES or number - start >= BATCH_EVENTS):
                    yield self._batch(partition, indexes[start:number])
                    start, size = number, 0
                size += length
            yield self._batch(partition, indexes[start:])

    def settle(self, batch: Batch, positions: Sequence[Position | None]) -> None:
        """Note what a batch got."""
        for index, position in zip(batch.indexes, positions, strict=True):
            self.positions[index] = position

    def _batch(self, partition: Partition, indexes: list[int]) -> Batch:
        return Batch(partition, [self._events[index] for index in indexes], indexes)


class ProducerCore:
    """Settings, and how a batch is sent; `Producer` and `AsyncProducer` decide in which thread.

    Raises:
        InvalidSetting: the URL or the durability has an unknown form, or the URL is not secure.
        SpoolFailed: the spool directory cannot be used.
    """

    def __init__(
        self,
        redis: "str | Redis | RedisCluster",
        *,
        source: str = "playhead",
        partitions: int | None = None,
        size_limit: int = DEFAULT_SIZE_LIMIT,
        durability: str = "server",
        spool: Path | str | None = None,
        blobs: Path | str | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        allow_insecure: bool = False,
    ) -> None:
        self.source = source
        self.partitions = partitions
        self._size_limit = size_limit
        if isinstance(redis, redis_asyncio.Redis | redis_asyncio.RedisCluster):
            raise InvalidSetting("a client of redis.asyncio cannot be used: pass the URL, or a client of redis")
        if isinstance(redis, str):
            address, retries = RedisAddress.parse(redis), _RETRIES if spool is None else _SPOOL_RETRIES
            if not allow_insecure and (problem := redis_exposure(address)) is not None:
                raise InvalidSetting(f"Redis {problem}, or {_ALLOW} if you trust everyone on the network")
            client = lambda: connect(address, timeout, retries=retries)  # noqa: E731
        else:
            client = lambda: redis  # noqa: E731
        settings = AppendSettings(DEFAULT_WINDOW, replicas_of(durability), timeout)
        if partitions is not None and not 0 < partitions <= MOST_PARTITIONS:
            raise InvalidSetting(f"partitions is {partitions}; it must be a number from 1 to {MOST_PARTITIONS}")
        self._appender = Appender(client, settings, partitions)
        self.counts = self._appender.counts
        if blobs is not None and not allow_insecure and (problem := bucket_exposure(str(blobs))) is not None:
            raise InvalidSetting(f"the store of blobs {problem}, or {_ALLOW} if you trust everyone on the network")
        self._blobs = None if blobs is None else Blobs(blobs)
        self._spool = None if spool is None else Spool(spool)
        self._flusher = None if self._spool is None else Flusher(self._spool, self._send_all)

    @classmethod
    def from_environment(cls) -> Self:
        """Make one from REDIS_URL, PLAYHEAD_PARTITIONS, PLAYHEAD_SPOOL_DIR, PLAYHEAD_BLOB_DIR, PLAYHEAD_ALLOW_INSECURE.

        Raises:
            InvalidSetting: a variable is missing or wrong.
            SpoolFailed: the spool directory cannot be used.
        """
        url = os.environ.get(ProducerVariable.REDIS_URL)
        if not url:
            raise InvalidSetting(f"{ProducerVariable.REDIS_URL} is not set; it must be {FORMS}")
        partitions = os.environ.get(ProducerVariable.PARTITIONS)
        if partitions and (not (partitions.isascii() and partitions.isdecimal()) or int(partitions) == 0):
            raise InvalidSetting(f"{ProducerVariable.PARTITIONS} is {partitions!r}; it must be a number from 1 up")
        spool, blobs = (os.environ.get(name) for name in (ProducerVariable.SPOOL_DIR, ProducerVariable.BLOB_DIR))
        insecure = os.environ.get(ProducerVariable.ALLOW_INSECURE, "").lower()
        if insecure not in _YES | _NO:
            raise InvalidSetting(f"{ProducerVariable.ALLOW_INSECURE} is {insecure!r}; it must be true or false")
        return cls(
            url,
            partitions=int(partitions) if partitions else None,
            spool=spool or None,
            blobs=blobs or None,
            allow_insecure=insecure in _YES,
        )

    def _event(
        self,
        type: str | msgspec.Struct,
        subject: str | None,
        data: object,
        stream: str | None,
        id: str | None,
        time: datetime | str | None,
        attributes: Attributes,
    ) -> Event:
        """Make an event of a type, a subject and data, or of the Struct that was declared as its payload."""
        if isinstance(type, msgspec.Struct):
            if data is not None or stream is not None:
                raise InvalidEvent("data", "and stream are those of the Struct: omit them")
            declared, data = event_type_of(type), type
            type, subject = declared.name, declared.subject_of(data) if subject is None else subject
        elif subject is None:
            subject = derived_subject(type, encode_data(data), attributes.get("dataschema"))
        source = self.source
        return new_event(type, subject=subject, data=data, source=source, id=id, time=time, stream=stream, **attributes)

    def _made(self, event: Event | msgspec.Struct) -> Event:
        """The event of a batch, made if it is given as a Struct."""
        return event if isinstance(event, Event) else self._event(event, None, None, None, None, None, {})

    def _capture(
        self,
        content: str | bytes,
        source_url: str | None,
        metadata: dict[str, object] | None,
        scraper_id: str | None,
        id: str | None,
        time: datetime | str | None,
    ) -> Event:
        target = installed().extension("capture")
        if target is None:
            raise InvalidSetting("no installed domain records content")
        return resolve(target)(
            content,
            source_url,
            metadata,
            blobs=self._blobs,
            scraper_id=scraper_id,
            source=self.source,
            id=id,
            time=time,
        )

    def _deliver(self, send: Send, partition: Partition, events: Sequence[Event]) -> Sequence[Position | None]:
        """Send a batch; with a spool, what Redis does not take waits there, and so does what comes behind it."""
        if self._spool is None or self._flusher is None:
            return send(partition, events)
        try:
            if not self._spool.pending:
                return send(partition, events)
        except RedisUnavailable:
            pass  # the flusher says so when it meets the same
        return self._keep([msgspec.structs.replace(event, stream=partition.stream) for event in events])

    def _keep_unsent(
        self, events: Sequence[Event], problem: RedisUnavailable | PartitionsChanged
    ) -> list[Position | None]:
        """With a spool, keep events there while Redis does not tell their partitions, or behind what waits already.

        Raises:
            InvalidEvent: no domain declares the type of one, and it names no stream.
            RedisUnavailable: there is no spool.
            PartitionsChanged: nothing waits in the spool.
        """
        if self._spool is None or (isinstance(problem, PartitionsChanged) and not self._spool.pending):
            raise problem
        return self._keep([msgspec.structs.replace(event, stream=stream_of(event)) for event in events])

    def _keep(self, events: Sequence[Event]) -> list[Position | None]:
        assert self._spool is not None
        assert self._flusher is not None
        self._spool.add(in_context(events))
        self._flusher.wake()
        return [None] * len(events)

    def _send(self, partition: Partition, events: Sequence[Event]) -> Sequence[Position]:
        with sending(partition, events) as traced:
            return self._appender.append(partition, traced)

    def _send_all(self, events: Sequence[Event]) -> None:
        submission = Submission(self.counts.of)
        for event in events:
            submission.add(event, spooled=True)
        for batch in submission.batches():
            self._send(batch.partition, batch.events)

    def _flush(self) -> int:
        return 0 if self._flusher is None else self._flusher.flush(wait=True)

    def _close(self, flush_seconds: float) -> None:
        if self._flusher is not None:
            self._flusher.stop(flush_seconds)
        self._appender.close()
