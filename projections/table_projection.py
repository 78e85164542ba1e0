"""The base of your projections that write rows to Postgres."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import partial
from typing import Any

from playhead.projections.postgres import Connection, connect
from playhead.projections.table_sink import TableSink
from playhead.streams.domains.place import Place
from playhead.streams.events import Recorded
from playhead.streams.sinks import Batch, Outcome


def connection_to(place: Place) -> Connection:
    """A connection to the database of a place; names without a schema are those of the place.

    As a context manager it commits and closes at the end of the block, or rolls back if that raises.
    """
    return connect(place.database_url, f"playhead-{place.name}", schema=place.schema)


class TableProjection(ABC):
    """Turns events into rows, in the transaction that moves the checkpoint.

    Live events come once each, in order per subject, of the types that the projection reads, with their payload as
    `data`. A replay brings events again that were applied long ago. So write each row under a key that derives from the
    event, and do not overwrite a row of a later event: `str(event.order)` sorts as the events of a subject do.
    """

    def __init__(self, place: Place) -> None:
        self.place = place

    @abstractmethod
    def apply(self, connection: Connection, events: Sequence[Recorded[Any]]) -> None:
        """Write what the events say; names without a schema are those of the projection's place.

        Raises:
            ValueError: an event can never be applied. It is parked, and its batch comes again without it.
            psycopg.Error: a transient error is retried; a violated constraint parks the event.
        """


class ProjectedTable(TableSink):
    """The sink of a `TableProjection`."""

    def __init__(self, projection: TableProjection) -> None:
        super().__init__(projection.place)
        self._projection = projection
        self._declared = projection.place.catalogue.types

    def apply(self, batch: Batch) -> Outcome:
        """Write rows and checkpoint in one transaction.

        Raises:
            InvalidEvent: a payload has another form than its type.
            Exception: whatever the projection raises.
        """
        events = [typed for recorded in batch.events if (typed := self._typed(recorded)) is not None]
        return self._commit(batch, partial(self._write, events=events))

    def examine(self, recorded: Recorded) -> None:
        """Raise what `apply` raises for the payload of an event."""
        self._typed(recorded)

    def _typed(self, recorded: Recorded) -> Recorded[Any] | None:
        kind = recorded.event.type
        return self._declared[kind].typed(recorded) if kind in self.types else None

    def _write(self, connection: Connection, events: Sequence[Recorded[Any]]) -> None:
        if events:
            self._projection.apply(connection, events)
