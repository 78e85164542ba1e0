"""Append events: durably, idempotently, in one round trip a batch."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from types import TracebackType
from typing import Self, Unpack, overload

import msgspec

from playhead.streams.appending.chunks import in_chunks, note
from playhead.streams.appending.core import Attributes, ProducerCore, Submission, checked
from playhead.streams.errors import PartitionsChanged, RedisUnavailable
from playhead.streams.events import Event
from playhead.streams.positions import Position


class Producer(ProducerCore):
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

    @overload
    def append(
        self,
        type: msgspec.Struct,
        *,
        subject: str | None = None,
        id: str | None = None,
        time: datetime | str | None = None,
        **attributes: Unpack[Attributes],
    ) -> Position | None: ...

    @overload
    def append(
        self,
        type: str,
        *,
        subject: str | None = None,
        data: object,
        stream: str | None = None,
        id: str | None = None,
        time: datetime | str | None = None,
        **attributes: Unpack[Attributes],
    ) -> Position | None: ...

    def append(
        self,
        type: str | msgspec.Struct,
        *,
        subject: str | None = None,
        data: object = None,
        stream: str | None = None,
        id: str | None = None,
        time: datetime | str | None = None,
        **attributes: Unpack[Attributes],
    ) -> Position | None:
        """Append one event durably and return its position, or None if it waits in the spool on disk.

        An event is a Struct that was declared as the payload of one, or a type with data. The payload of a declared
        type is checked, and gives the subject if that is omitted. A type that no domain declares needs its subject and
        stream.

        Raises:
            InvalidEvent: names the invalid field; nothing was sent.
            RedisUnavailable: Redis did not accept it; append the same id again.
            SpoolFailed: the spool did not accept it either.
        """
        return self.append_events([self._event(type, subject, data, stream, id, time, attributes)])[0]

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
        """Record scraped content, text or bytes; returns what `append` returns.

        Content above 256 KiB is first stored in the blob store, once, and the event refers to it. You can also pass
        the scraper in the metadata, as `scraper_id`.

        Raises:
            InvalidSetting: the content needs a blob store, and there is none.
            StoreUnavailable: the blob store did not accept it; nothing was appended.
            PlayheadError: as `append`.
        """
        return self.append_events([self._capture(content, source_url, metadata, scraper_id, id, time)])[0]

    def append_events(self, events: Iterable[Event | msgspec.Struct]) -> list[Position | None]:
        """Append a batch, one round trip for each partition and 8 MiB; return positions in the order of the events.

        An event is a Struct that was declared as the payload of one, or was made with `new_event`.

        A list or another collection is checked before anything is sent. A generator or another iterator is
        appended as it is read, 500 events or 8 MiB at once, so that memory is bounded. If it raises, or gives an
        invalid event, the events before are appended, and a note of the exception says how many.

        Raises:
            InvalidEvent: names the invalid field; nothing of a collection was sent.
            RedisUnavailable: part of the batch may be appended; append all of it again with the same ids.
            SpoolFailed: as RedisUnavailable, and the spool did not take the events either.
        """
        if isinstance(events, Collection):
            return self._append_checked([self._checked(event) for event in events])
        positions: list[Position | None] = []
        try:
            for chunk in in_chunks(events, self._checked):
                positions += self._append_checked(chunk)
        except Exception as error:
            note(error, positions)
            raise
        return positions

    def flush(self) -> int:
        """Send every event that waits in the spool; return the number that this call sent.

        Raises:
            RedisUnavailable: Redis did not accept them; they still wait.
            PlayheadError: Redis refuses an event permanently; it and all behind it still wait.
        """
        return self._flush()

    def _checked(self, event: Event | msgspec.Struct) -> Event:
        return checked(self._made(event), self._size_limit)

    def _append_checked(self, events: Sequence[Event]) -> list[Position | None]:
        submission = Submission(self.counts.of)
        try:
            for event in events:
                submission.add(event)
        except (RedisUnavailable, PartitionsChanged) as error:
            return self._keep_unsent(events, error)
        for batch in submission.batches():
            submission.settle(batch, self._deliver(self._send, batch.partition, batch.events))
        return submission.positions

    def close(self, flush_seconds: float = 2.0) -> None:
        """Close the connections; what waits in the spool is tried once more, for so long at most, and kept."""
        self._close(flush_seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
