"""Events of a test, made of payloads: what `append` would give them follows from their number."""

from datetime import UTC, datetime, timedelta

import msgspec

from playhead.streams.domains.event_types import event_type_of
from playhead.streams.events import Event, Recorded, new_event
from playhead.streams.positions import Position

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
"""The time of the first event; each is a second after the one before."""


class Timeline:
    """Makes events one after another: `event-1` at 2026-01-01T00:00:00Z, `event-2` a second later, and so on."""

    def __init__(self) -> None:
        self._made = 0
        self._positions = 0

    def event(self, given: msgspec.Struct) -> Event:
        """Make the next event of a payload that is declared as an event type; an `Event` is taken as it is.

        Raises:
            InvalidEvent: the payload is not declared.
        """
        if isinstance(given, Event):
            return given
        self._made += 1
        return event_of(given, id=f"event-{self._made}", time=BEGIN + timedelta(seconds=self._made - 1))

    def record(self, event: Event) -> Recorded:
        """Give an event the next position."""
        self._positions += 1
        moment = int(BEGIN.timestamp() * 1000) + 1000 * (self._positions - 1)
        return Recorded(event, Position(moment, 0), self._positions)


def event_of(payload: msgspec.Struct, *, id: str | None = None, time: datetime | str | None = None) -> Event:
    """Make an event of a payload that is declared as an event type, with a new id and of now unless you say otherwise.

    Raises:
        InvalidEvent: it is not declared.
    """
    declared = event_type_of(payload)
    return new_event(
        declared.name,
        subject=declared.subject_of(payload),
        data=payload,
        id=id,
        time=time,
        dataschema=declared.dataschema,
    )
