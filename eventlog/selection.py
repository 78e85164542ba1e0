"""Selections: which events a reader of the log or of a subscription gets, and with which payloads read."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from playhead.eventlog.errors import PayloadInvalid
from playhead.eventlog.segments import partitions
from playhead.streams.cursors import Cursor, Received
from playhead.streams.domains.discovery import installed
from playhead.streams.domains.event_types import EventType, event_type_of
from playhead.streams.errors import InvalidEvent, InvalidSetting
from playhead.streams.events import Recorded
from playhead.streams.partitions import Partition

Types = str | Sequence[str] | type[msgspec.Struct] | Sequence[type[msgspec.Struct]]
"""Event types by their names, or by the Structs that were declared for them."""


class Selection:
    """Chooses events by type and subject, and reads the payloads of types that are given as Structs.

    Raises:
        InvalidEvent: a Struct is not declared as an event.
    """

    def __init__(self, type: Types | None, subject: str | None) -> None:
        given = type if type is None or (isinstance(type, Sequence) and not isinstance(type, str)) else [type]
        self.subject = subject
        self.declared: dict[str, EventType[Any]] = {}
        names: list[str] = []
        for each in given or ():
            if not isinstance(each, str):
                declared = event_type_of(each)
                self.declared[declared.name] = declared
            names.append(each if isinstance(each, str) else event_type_of(each).name)
        self.types = None if given is None else frozenset(names)

    @property
    def streams(self) -> list[str]:
        """The streams of its types, all that are declared if it takes every type.

        Raises:
            InvalidEvent: a type is not declared.
        """
        if self.types is None:
            return list(installed().streams)
        declared = {name: declared.stream for name, declared in self.declared.items()}
        return sorted({declared.get(name) or installed().stream_of(name) for name in self.types})

    def takes(self, recorded: Recorded) -> bool:
        """Whether an event is wanted."""
        event = recorded.event
        return (self.types is None or event.type in self.types) and self.subject in {None, event.subject}

    def received(self, partition: Partition, recorded: Recorded, cursor: Cursor) -> Received[Any]:
        """Give an event to a reader.

        Raises:
            PayloadInvalid: its payload is not of the Struct that was asked for.
        """
        declared = self.declared.get(recorded.event.type)
        try:
            data = None if declared is None else declared.decode(recorded.event)
        except InvalidEvent as error:
            raise PayloadInvalid(error, partition, recorded, cursor) from error
        return Received(
            recorded.event,
            recorded.position,
            recorded.sequence,
            recorded.replay,
            data,
            partition=partition,
            cursor=cursor,
        )


def streams_of(stream: str | Sequence[str] | None, log: Path | None) -> list[str] | None:
    """The streams that a caller names, None for all: a domain declares each, or the log has it.

    Raises:
        InvalidSetting: there is no such stream, or none is named.
    """
    if stream is None:
        return None
    names = [stream] if isinstance(stream, str) else list(dict.fromkeys(stream))
    if not names:
        raise InvalidSetting("no stream is named: name one, or omit the streams to read all of them")
    known = list(installed().streams)
    if log is not None and not set(names).issubset(known):
        with suppress(PermissionError):  # whoever reads it says so
            known += [partition.stream for partition in partitions(log)]
    for name in names:
        if name not in known:
            raise InvalidSetting(f"there is no stream {name!r}; there are {', '.join(dict.fromkeys(known))}")
    return names
