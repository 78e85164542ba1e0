"""What `verify` compares a table by whose rows are each written from one event."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar

from playhead.projections.postgres import Connection, Database
from playhead.projections.representable import ask_representable
from playhead.projections.verification import Lack
from playhead.streams.domains.place import Place
from playhead.streams.errors import InvalidEvent
from playhead.streams.events import Recorded

Data = TypeVar("Data")


class TableVerification(ABC, Generic[Data]):
    """Compares which event wrote each row with the log; what a row says beyond that is not compared.

    A row is the latest event's of its key, and keeps `str(event.order)`. `table` is its name in messages.
    """

    table: str

    def __init__(self, place: Place) -> None:
        self.types, self._declared = place.types, place.catalogue.types
        self._database = Database(place.database_url, "playhead-verify", place.schema)

    @abstractmethod
    def key_of(self, data: Data, /) -> str | None:
        """The key of the row that an event with this payload has, None if it has none.

        A key that Postgres cannot hold, such as one with NUL, has no row either.
        """

    @abstractmethod
    def standing(self, connection: Connection, keys: Sequence[str]) -> Mapping[str, str]:
        """The order of the event that wrote each row, by key; rows that are not there are left out."""

    def key(self, recorded: Recorded) -> str | None:
        """The key of its row, None if it has none: it is of another type, or its payload cannot be read."""
        event = recorded.event
        if event.type not in self.types:
            return None
        try:
            data: Any = self._declared[event.type].decode(event)
            return self.key_of(data)
        except (InvalidEvent, ValueError):
            return None

    def rank(self, recorded: Recorded) -> str:
        """The order of its events."""
        return str(recorded.order)

    def lacks(self, events: Sequence[Recorded]) -> Iterator[Lack]:
        """Events without a row that they or a newer one wrote."""
        keys = {recorded.position: key for recorded in events if (key := self.key(recorded)) is not None}
        standing: dict[str, str] = {}
        known: set[str] = set()
        for part, found in ask_representable(sorted(set(keys.values())), self._ask):
            known.update(part)
            standing.update(found)
        for recorded in events:
            key = keys.get(recorded.position)
            if key is None or key not in known:
                continue
            if key not in standing:
                yield Lack("missing", key, recorded, self.table, "the row is not there")
            elif standing[key] < str(recorded.order):
                yield Lack("stale", key, recorded, self.table, "the row shows an older event")

    def _ask(self, keys: Sequence[str]) -> Mapping[str, str]:
        with self._database.transaction() as connection:
            return self.standing(connection, keys)

    def discard(self, lack: Lack) -> None:
        """Nothing: a replay writes over an older row."""

    def close(self) -> None:
        """Close the connection."""
        self._database.close()
