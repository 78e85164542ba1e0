"""What `verify` compares a table by whose rows are each written from one event."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Generic, TypeVar

import msgspec
from psycopg import sql

from playhead.projections.postgres import Connection, Database
from playhead.projections.representable import ask_representable
from playhead.projections.verification import Held, Lack, Stray
from playhead.streams.domains.place import Place
from playhead.streams.errors import InvalidEvent
from playhead.streams.events import Recorded
from playhead.streams.positions import Order

Data = TypeVar("Data")

_STANDING = sql.SQL(
    "SELECT standing.{key}::text, standing.{order}::text FROM {table} AS standing"
    " JOIN jsonb_populate_recordset(NULL::{table}, %s::jsonb) AS given ON given.{key} = standing.{key}"
)
_HELD = sql.SQL("SELECT {key}::text, {order}::text FROM {table} ORDER BY {key}")
_DISCARD = sql.SQL(
    "DELETE FROM {table} WHERE {key} = (jsonb_populate_record(NULL::{table}, %s::jsonb)).{key} AND {order}::text = %s"
)
_DIFFERING = sql.SQL(
    "WITH expected AS (SELECT {columns} FROM jsonb_populate_recordset(NULL::{table}, %s::jsonb)),"
    " standing AS (SELECT {columns} FROM {table} WHERE {key} IN (SELECT {key} FROM expected))"
    " SELECT {key}::text FROM (TABLE expected EXCEPT TABLE standing) AS other"
)
_AT_ONCE = 1000


class TableVerification(ABC, Generic[Data]):
    """Compares the rows of a table with the log, in both directions.

    A row is the latest event's of its key. `table` is the table, `key_column` its key, `order_column` the column that
    keeps `str(event.order)`. Which event wrote each row is compared, and what the row says if there is a `row_of`.
    """

    table: str
    key_column: str
    order_column: str = "event_order"
    compares = "rows by their event, and what they say if there is a row_of; what is of no event"
    unlogged = "append the event again, or restore the log from a backup"

    def __init__(self, place: Place) -> None:
        self.types, self._declared = place.types, place.catalogue.types
        self._database = Database(place.database_url, "playhead-verify", place.schema)

    @abstractmethod
    def key_of(self, data: Data, /) -> str | None:
        """The key of the row that an event with this payload has, as text, None if it has none.

        A key that Postgres cannot hold, such as one with NUL, has no row either.
        """

    def row_of(self, event: Recorded[Data], /) -> Mapping[str, object] | None:
        """The row that an event writes: values by column, each as it stands in JSON. Other columns are not compared.

        None, as here, compares no more than which event wrote the row.
        """

    def standing(self, connection: Connection, keys: Sequence[str]) -> Mapping[str, str]:
        """The order of the event that wrote each row, by key; rows that are not there are left out."""
        given = _encode([{self.key_column: key} for key in keys])
        return dict(connection.execute(self._sql(_STANDING), (given,)).fetchall())

    def differing(self, connection: Connection, events: Sequence[Recorded]) -> Iterable[str]:
        """The keys of those of these events whose rows say something else; each wrote the row that stands."""
        rows = [row for recorded in events if (row := self.row_of(self._typed(recorded))) is not None]
        if not rows:
            return ()
        columns = sql.SQL(", ").join(sql.Identifier(name) for name in dict.fromkeys([self.key_column, *rows[0]]))
        found = connection.execute(self._sql(_DIFFERING, columns=columns), (_encode(rows),)).fetchall()
        return [str(key) for (key,) in found]

    def key(self, recorded: Recorded) -> str | None:
        """The key of its row, None if it has none: it is of another type, or its payload cannot be read."""
        if recorded.event.type not in self.types:
            return None
        try:
            return self.key_of(self._typed(recorded).data)
        except (InvalidEvent, ValueError):
            return None

    def rank(self, recorded: Recorded) -> str:
        """The order of its events."""
        return str(recorded.order)

    def mark(self, recorded: Recorded) -> str:
        """The same: a row keeps the order of its event."""
        return str(recorded.order)

    def lacks(self, events: Sequence[Recorded]) -> Iterator[Lack]:
        """Events without a row that they wrote, and those whose row says something else."""
        keyed = [(key, recorded) for recorded in events if (key := self.key(recorded)) is not None]
        for part, (standing, differing) in ask_representable(keyed, self._ask):
            for key, recorded in part:
                lack = partial(Lack, key=key, recorded=recorded, place=self.table)
                order, found = str(recorded.order), standing.get(key)
                if found is None:
                    yield lack("missing", problem="the row is not there")
                    continue
                lack = partial(lack, standing=found if _is_order(found) else None, content=found.encode())
                if found < order:
                    yield lack("stale", problem="the row shows an older event")
                elif found > order:
                    yield lack("other", problem="the row shows another event", repair="replace")
                elif key in differing:
                    yield lack("altered", problem="the row says something else than its event", repair="replace")

    def held(self) -> Iterator[Held | Stray]:
        """Every row, with the order of the event that wrote it."""
        with self._database.transaction() as connection, connection.cursor("playhead_held") as cursor:
            cursor.itersize = _AT_ONCE
            for key, order in cursor.execute(self._sql(_HELD)):
                if order is not None and _is_order(order):
                    yield Held(key, order, self.table)
                else:
                    yield Stray(key, self.table, "no event wrote the row; delete it if nobody needs it")

    def discard(self, lack: Lack) -> bool:
        """Delete a row that still is of the event that it was judged to be of."""
        with self._database.transaction() as connection:
            order = (lack.content or b"").decode()
            key = _encode({self.key_column: lack.key})
            return connection.execute(self._sql(_DISCARD), (key, order)).rowcount == 1

    def close(self) -> None:
        """Close the connection."""
        self._database.close()

    def _ask(self, keyed: Sequence[tuple[str, Recorded]]) -> tuple[Mapping[str, str], frozenset[str]]:
        """Which event wrote each row, and which rows say something else, at one instant."""
        with self._database.transaction() as connection:
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            standing = self.standing(connection, sorted({key for key, _ in keyed}))
            shown = [recorded for key, recorded in keyed if standing.get(key) == str(recorded.order)]
            return standing, frozenset(self.differing(connection, shown) if shown else ())

    def _typed(self, recorded: Recorded) -> Recorded[Any]:
        return self._declared[recorded.event.type].typed(recorded)

    def _sql(self, statement: sql.SQL, **parts: sql.Composable) -> sql.Composed:
        names = {"table": self.table, "key": self.key_column, "order": self.order_column}
        return statement.format(**{name: sql.Identifier(value) for name, value in names.items()}, **parts)


def _encode(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _is_order(text: str) -> bool:
    try:
        Order.parse(text)
    except ValueError:
        return False
    return True
