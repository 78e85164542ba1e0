"""Tables that an earlier version made where the search path led it, and their move into the schema of this one.

A table keeps its rows, indexes, grants and sequences when it moves, and every statement finds it before or after. Which
objects are ours, the applied migrations say: they run once more in the new schema, and what they make there has its
like in the old one.
"""

import re
from collections.abc import Callable

from psycopg import errors, sql

from playhead.projections.postgres import LOCK_TIMEOUT, SQL, Connection
from playhead.streams.errors import PlayheadError

OWN_SCHEMA = "0008_own_schema"
"""The first migration of a version that knows schemas; tables that have it are moved by nobody."""

_FIND, _OBJECTS, _PARTITIONS, _GRANTS = (
    (SQL / f"{name}.sql").read_bytes() for name in ("earlier", "objects", "partitions_of", "relocation_grants")
)
_CHECKPOINTS = "playhead_checkpoints"
_KEYWORDS = {"statistics object": "STATISTICS"}
"""Of kinds that ALTER calls otherwise than `pg_identify_object`."""


class TablesInUse(PlayheadError):
    """The tables are in use and were not moved: stop the consumers, wait for long queries, and run it again."""


class NotRelocated(PlayheadError):
    """It cannot be told which tables are Playhead's, and nothing was moved: set PLAYHEAD_SCHEMA to where they are."""


def find_earlier(connection: Connection) -> str | None:
    """The schema in which an earlier version has made tables with this URL, None if it has not.

    An earlier version took the first schema of the search path that the server, the role or the URL sets.
    """
    with connection.transaction(force_rollback=True):
        connection.execute("SET LOCAL search_path TO DEFAULT")
        row = connection.execute(_FIND).fetchone()
        if row is None:
            return None
        known = connection.execute("SELECT FROM playhead_migrations WHERE name = %s", (OWN_SCHEMA,)).fetchone()
        return str(row[0]) if known is None else None


def find_marker(connection: Connection) -> str | None:
    """What the view says that stands where tables were moved away, None if there is none in the schema of ours."""
    row = connection.execute(
        "SELECT FROM pg_class WHERE oid = to_regclass('playhead_migrations') AND relkind = 'v'"
    ).fetchone()
    if row is None:
        return None
    marker = connection.execute("SELECT name FROM playhead_migrations").fetchone()
    return str(marker[0]) if marker else None


def relocate(connection: Connection, earlier: str, schema: str, make: Callable[[], None]) -> None:
    """Move what `make` makes anew from a schema to another, in the transaction of the caller.

    Consumers lock the checkpoint first in each transaction. So does this: none is in the midst of one then, and there
    is no deadlock. A view stays behind, by which an earlier version refuses the database instead of making new tables.

    Raises:
        TablesInUse: somebody holds a lock on one of them for too long.
        NotRelocated: a migration cannot run again.
        psycopg.errors.InsufficientPrivilege: they are not ours to move.
    """
    connection.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(f"{LOCK_TIMEOUT}ms")))
    moving = _objects(connection, earlier) & _made(connection, earlier, schema, make)
    tables = [identity for kind, identity in moving if kind == "table"]
    moving |= {("table", str(name)) for (name,) in connection.execute(_PARTITIONS, {"of": tables, "in": earlier})}
    try:
        if ("table", f"{_quoted(connection, earlier)}.{_CHECKPOINTS}") in moving:
            place = sql.Identifier(earlier, _CHECKPOINTS)
            connection.execute(sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(place))
        for kind, identity in sorted(moving):
            keyword = _KEYWORDS.get(kind, kind.upper())
            connection.execute(f"ALTER {keyword} {identity} SET SCHEMA {_quoted(connection, schema)}".encode())
    except (errors.LockNotAvailable, errors.DeadlockDetected) as error:
        said = str(error).splitlines()[0]
        raise TablesInUse(
            f"the tables in the schema {earlier} are in use and were not moved to {schema} ({said}): stop the consumers"
            " that write to Postgres, wait for long queries and dumps, and run `playhead db upgrade` again"
        ) from error
    for (grant,) in connection.execute(_GRANTS, {"schema": schema, "earlier": earlier}).fetchall():
        connection.execute(grant.encode())
    _mark(connection, earlier, schema)


def _objects(connection: Connection, schema: str) -> set[tuple[str, str]]:
    """What stands in a schema: what `ALTER` calls it, but for the case, and its name with schema and arguments."""
    return {(str(kind), str(identity)) for kind, identity in connection.execute(_OBJECTS, (schema,))}


def _made(connection: Connection, earlier: str, schema: str, make: Callable[[], None]) -> set[tuple[str, str]]:
    """What `make` makes, by the names that this has in the schema of before.

    Raises:
        NotRelocated: it fails.
    """
    before = _objects(connection, schema)
    try:
        with connection.transaction(force_rollback=True):
            path = sql.SQL(", ").join(map(sql.Identifier, (schema, earlier)))  # extensions may be where the tables are
            connection.execute(sql.SQL("SET LOCAL search_path TO {}").format(path))
            make()
            made = _objects(connection, schema) - before
    except PlayheadError as error:
        raise NotRelocated(
            f"the tables stay in the schema {earlier}, because a migration does not run a second time, which says what"
            f" it made: {error} Or set PLAYHEAD_SCHEMA={earlier} to leave the tables there"
        ) from error
    new = re.compile(rf"(?<![\w.\"]){re.escape(_quoted(connection, schema))}(?=\.)")
    old = _quoted(connection, earlier)
    return {(kind, new.sub(lambda _: old, identity)) for kind, identity in made}


def _mark(connection: Connection, earlier: str, schema: str) -> None:
    """Leave a view in place of the migrations; its row is one that no earlier version knows."""
    may = connection.execute("SELECT has_schema_privilege(%s, 'CREATE')", (earlier,)).fetchone()
    if may is None or not may[0]:
        return
    place = sql.Identifier(earlier, "playhead_migrations")
    row = sql.Literal(f"tables that were moved to the schema {schema}")
    connection.execute(sql.SQL("CREATE VIEW {} AS SELECT {}::text AS name, ''::text AS sha256").format(place, row))
    connection.execute(sql.SQL("GRANT SELECT ON {} TO PUBLIC").format(place))


def _quoted(connection: Connection, name: str) -> str:
    """A name as Postgres writes it: in quotation marks only if it needs them."""
    row = connection.execute("SELECT quote_ident(%s)", (name,)).fetchone()
    assert row is not None, "a function gives a row"
    return str(row[0])
