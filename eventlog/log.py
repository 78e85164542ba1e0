"""Read the event log from your programs."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self, TypeVar, overload

import msgspec

from playhead.eventlog.history import History
from playhead.eventlog.reader import partitions, read_ordered
from playhead.eventlog.selection import Selection, Types, streams_of
from playhead.streams.cursors import Cursor, Received, cursor_of
from playhead.streams.errors import InvalidEvent, InvalidSetting
from playhead.streams.events import Recorded, parse_date_or_time
from playhead.streams.partitions import Partition
from playhead.streams.positions import Position

_Payload = TypeVar("_Payload", bound=msgspec.Struct)


class EventLog:
    """The event log below one directory, read-only: reading locks nothing and changes nothing, also while it grows."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @classmethod
    def open(cls, place: str | Path) -> Self:
        """Open the log in a directory, that of EVENT_LOG_DIR.

        Raises:
            InvalidSetting: there is no such directory, or none is named.
        """
        directory = Path(place)
        if not str(place) or not directory.is_dir():
            raise InvalidSetting(
                f"{str(place) or 'an empty path'} is no directory: give that of the event log (EVENT_LOG_DIR); the log"
                " writer makes it"
            )
        return cls(directory)

    @overload
    def read(
        self,
        *,
        type: type[_Payload] | Sequence[type[_Payload]],
        stream: str | Sequence[str] | None = None,
        subject: str | None = None,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
        after: Cursor | str | None = None,
    ) -> Iterator[Received[_Payload]]: ...

    @overload
    def read(
        self,
        *,
        type: str | Sequence[str] | None = None,
        stream: str | Sequence[str] | None = None,
        subject: str | None = None,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
        after: Cursor | str | None = None,
    ) -> Iterator[Received]: ...

    def read(
        self,
        *,
        type: Types | None = None,
        stream: str | Sequence[str] | None = None,
        subject: str | None = None,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
        after: Cursor | str | None = None,
    ) -> Iterator[Received[Any]]:
        """Read events one by one, in bounded memory, up to the end that the log has when it gets there.

        Within a partition they come in the order of positions; partitions are merged by event time, then position, the
        same order every time. `type` is a name, or the Struct that was declared for a type, or several of either: with
        Structs, the payload is read, upcast from older versions, and stands in `data`. `since` (inclusive) and `until`
        (exclusive) are event times: datetimes (UTC if naive), RFC 3339 or dates. `after` is the `cursor` of an event,
        or its text.

        Raises:
            LogCorrupt: damage, with file, line and position; what comes before it was given.
            PayloadInvalid: a payload is not of the Struct that was asked for.
            InvalidSetting: a stream, time or cursor that does not exist.
            InvalidEvent: a Struct is not declared as an event.
        """
        selection, start = Selection(type, subject), cursor_of(after)
        found = read_ordered(
            self.directory,
            streams=streams_of(stream, self.directory),
            types=selection.types,
            subject=subject,
            since=_moment("since", since),
            until=_moment("until", until),
            after=start.positions,
        )
        return _received(found, selection, start)

    def end(self) -> Cursor:
        """The cursor behind everything that the log has now.

        Raises:
            LogCorrupt: the end of a partition cannot be read.
        """
        history, found = History(self.directory), dict[Partition, Position]()
        for partition in partitions(self.directory):
            if tail := history.tail(partition):
                found[partition] = tail.recorded.position
        return Cursor(found)


def _received(
    found: Iterator[tuple[Partition, Recorded]], selection: Selection, start: Cursor
) -> Iterator[Received[Any]]:
    positions: Mapping[Partition, Position] = start.positions
    for partition, recorded in found:
        positions = {**positions, partition: recorded.position}
        yield selection.received(partition, recorded, Cursor(positions))


def _moment(name: str, value: datetime | str | None) -> datetime | None:
    if isinstance(value, datetime):
        return value if value.tzinfo is not None else value.replace(tzinfo=UTC)
    if value is None:
        return None
    try:
        return parse_date_or_time(value)
    except InvalidEvent as error:
        raise InvalidSetting(f"{name} takes a datetime, a date or an RFC 3339 time: {error.problem}") from error
