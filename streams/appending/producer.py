"""Append events: durably, idempotently, in one round trip a batch."""

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from redis import Redis, RedisCluster

from playhead.streams.appending.appender import Appender, AppendSettings, replicas_of
from playhead.streams.appending.flusher import Flusher
from playhead.streams.appending.spool import Spool
from playhead.streams.content.events import capture_event
from playhead.streams.domains.discovery import installed
from playhead.streams.errors import InvalidSetting, RedisUnavailable
from playhead.streams.events import DEFAULT_SIZE_LIMIT, Event, check, new_event
from playhead.streams.names import ProducerVariable
from playhead.streams.partitions import Partition, partition_of
from playhead.streams.positions import Position
from playhead.streams.redis.connections import DEFAULT_TIMEOUT, FORMS, RedisAddress, connect
from playhead.streams.redis.exposure import redis_exposure
from playhead.streams.storage.blobs import Blobs
from playhead.streams.telemetry import in_context, sending

DEFAULT_WINDOW = 24 * 3600
"""Seconds for which the same event id again adds nothing."""

_BATCH_BYTES = 8 * 1024 * 1024
_BATCH_EVENTS = 500
_RETRIES, _SPOOL_RETRIES = 5, 1
_ALLOW = f"set {ProducerVariable.ALLOW_INSECURE}=true, or pass allow_insecure=True,"
_YES, _NO = {"true", "1", "yes", "on"}, {"", "false", "0", "no", "off"}


class Producer:
    """Appends events to their partitions; safe to share between threads and across fork.

    The same event id twice within a day adds nothing and gives the first position again. `durability` is
    `server`, as durable as the server is set to make it, or `replicas:N`. With `spool`, a directory, events that Redis
    does not take wait there, on disk, and are sent in order once it does, also by another program with that spool.
    `blobs`, a directory or an `s3://` URL, is where `archive` puts large content. A connection that is silent for
    `timeout` seconds counts as dead. A URL of another machine must have TLS and a password, unless `allow_insecure`.

    Raises:
        InvalidSetting: the URL or the durability has an unknown form, or the URL is not secure.
        SpoolFailed: the spool directory cannot be used.
    """

    def __init__(
        self,
        redis: "str | Redis | RedisCluster",
        *,
        source: str = "playhead",
        partitions: int = 1,
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
        if isinstance(redis, str):
            address, retries = RedisAddress.parse(redis), _RETRIES if spool is None else _SPOOL_RETRIES
            if not allow_insecure and (problem := redis_exposure(address)) is not None:
                raise InvalidSetting(f"Redis {problem}, or {_ALLOW} where everybody on the network is trusted")
            client = lambda: connect(address, timeout, retries=retries)  # noqa: E731
        else:
            client = lambda: redis  # noqa: E731
        self._appender = Appender(client, AppendSettings(partitions, DEFAULT_WINDOW, replicas_of(durability), timeout))
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
        partitions = os.environ.get(ProducerVariable.PARTITIONS) or "1"
        if not partitions.isdecimal() or int(partitions) == 0:
            raise InvalidSetting(f"{ProducerVariable.PARTITIONS} is {partitions!r}; it must be a number from 1 up")
        spool, blobs = (os.environ.get(name) for name in (ProducerVariable.SPOOL_DIR, ProducerVariable.BLOB_DIR))
        insecure = os.environ.get(ProducerVariable.ALLOW_INSECURE, "").lower()
        if insecure not in _YES | _NO:
            raise InvalidSetting(f"{ProducerVariable.ALLOW_INSECURE} is {insecure!r}; it must be true or false")
        return cls(
            url,
            partitions=int(partitions),
            spool=spool or None,
            blobs=blobs or None,
            allow_insecure=insecure in _YES,
        )

    def append(
        self,
        type: str,
        *,
        subject: str,
        data: object,
        id: str | None = None,
        time: datetime | str | None = None,
        **attributes: str | None,
    ) -> Position | None:
        """Append one event; when this returns, it is as durable as asked for. None: it waits in the spool, on disk.

        Further attributes are `correlationid`, `causationid`, `dataschema`.

        Raises:
            InvalidEvent: names the field that is wrong; nothing was sent.
            RedisUnavailable: Redis did not take it; appending the same id again is safe.
            SpoolFailed: neither did the spool.
        """
        event = new_event(type, subject=subject, data=data, source=self.source, id=id, time=time, **attributes)
        return self.append_events([event])[0]

    def archive(
        self,
        content: str | bytes,
        source_url: str | None,
        metadata: dict[str, object] | None = None,
        *,
        scraper_id: str | None = None,
        id: str | None = None,
        time: datetime | str | None = None,
    ) -> Position | None:
        """Record scraped content as it is, text or bytes; returns as `append` does.

        Content above 256 KiB goes to the blob store first, each once, and the event refers to it. The scraper may also
        stand in the metadata, as `scraper_id`.

        Raises:
            InvalidSetting: the content needs a blob store, and there is none.
            StoreUnavailable: the blob store did not take it; nothing was appended.
            PlayheadError: as `append`.
        """
        event = capture_event(
            content,
            source_url,
            metadata,
            blobs=self._blobs,
            scraper_id=scraper_id,
            source=self.source,
            id=id,
            time=time,
        )
        return self.append_events([event])[0]

    def append_events(self, events: Sequence[Event]) -> list[Position | None]:
        """Append a batch, one round trip for each partition and 8 MiB; positions come in the order of the events.

        Raises:
            InvalidEvent: names the field that is wrong; nothing of the batch was sent.
            RedisUnavailable: part of the batch may be in; appending all of it again is safe.
            SpoolFailed: as RedisUnavailable, and the spool did not take the events either.
        """
        for event in events:
            check(event, self._size_limit)
        positions: dict[int, Position] = {}
        if self._spool is not None and self._flusher is not None:
            try:
                if not self._spool.pending:
                    self._send(events, positions)
            except RedisUnavailable:
                pass  # the flusher says so when it meets the same
            if len(positions) < len(events):
                self._spool.add(in_context([event for n, event in enumerate(events) if n not in positions]))
                self._flusher.wake()
        else:
            self._send(events, positions)
        return [positions.get(index) for index in range(len(events))]

    def flush(self) -> int:
        """Send what waits in the spool; when this returns, nothing does. Gives how many events this call sent itself.

        Raises:
            RedisUnavailable: Redis did not take it; it still waits.
            PlayheadError: Redis refuses an event for good; it and all behind it still wait.
        """
        return 0 if self._flusher is None else self._flusher.flush(wait=True)

    def close(self, flush_seconds: float = 2.0) -> None:
        """Close the connections; what waits in the spool is tried once more, for so long at most, and kept."""
        if self._flusher is not None:
            self._flusher.stop(flush_seconds)
        self._appender.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _send_all(self, events: Sequence[Event]) -> None:
        self._send(events, {})

    def _send(self, events: Sequence[Event], positions: dict[int, Position]) -> None:
        """Append, and note each position as soon as it is known."""
        by_partition: defaultdict[Partition, list[int]] = defaultdict(list)
        for index, event in enumerate(events):
            by_partition[partition_of(installed().stream_of(event.type), event.subject, self.partitions)].append(index)
        for partition, indexes in by_partition.items():
            for batch in _batches(events, indexes):
                with sending(partition, [events[index] for index in batch]) as traced:
                    found = self._appender.append(partition, traced)
                positions.update(zip(batch, found, strict=True))


def _batches(events: Sequence[Event], indexes: Sequence[int]) -> Iterator[list[int]]:
    batch: list[int] = []
    size = 0
    for index in indexes:
        length = len(events[index].data)
        if batch and (size + length > _BATCH_BYTES or len(batch) >= _BATCH_EVENTS):
            yield batch
            batch, size = [], 0
        batch.append(index)
        size += length
    if batch:
        yield batch
