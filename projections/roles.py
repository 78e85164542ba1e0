"""The roles of Playhead in Postgres: who owns the tables, who writes rows, who reads them."""

import secrets

import msgspec
from psycopg import sql

from playhead.projections.migrations import LOCK, made_tables, require_upgraded
from playhead.projections.postgres import SQL, Connection, connect
from playhead.streams.errors import PlayheadError
from playhead.streams.names import SCHEMA

_PLACES, _TABLE, _EVERYONE = ((SQL / f"roles_{name}.sql").read_text() for name in ("places", "table", "everyone"))
_TAKE = "ALTER TABLE {table} OWNER TO {owner}"
_SEQUENCE = "GRANT USAGE, SELECT ON SEQUENCE {table} TO {writer}"
_MIGRATIONS = "REVOKE INSERT, UPDATE, DELETE ON playhead_migrations FROM {writer}"
"""What was applied is the owner's to say."""
_SHARED = (SQL / "shared.sql").read_bytes()
_RELATIONS = (SQL / "relations.sql").read_bytes()
_MOST_BYTES = 63
"""Of a name in Postgres; a longer one is cut."""


class DatabaseNameTooLong(PlayheadError):
    """The name of the database leaves no room for those of its roles: use one of 56 bytes at most."""


class Role(msgspec.Struct, frozen=True):
    """A role of the database, and its password if this call made it; Postgres keeps none that could be read."""

    name: str
    password: str | None


class Roles(msgspec.Struct, frozen=True):
    """The roles, and whether other programs have tables in the database, so that what everyone may do there stays."""

    roles: list[Role]
    shared: bool


def make_roles(database_url: str, *, schema: str = SCHEMA) -> Roles:
    """Make the roles that are missing and grant each what it needs, on the tables of today and of later migrations.

    All of it or nothing. The tables become the owner's.

    Raises:
        DatabaseNotUpgraded: the tables are not there yet.
        DatabaseNameTooLong: names the database.
        psycopg.errors.InsufficientPrivilege: the user may make no roles, or does not own the tables.
    """
    with connect(database_url, "playhead-roles", schema=schema) as connection, connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
        require_upgraded(connection)
        database = connection.info.dbname
        names = {role: f"{database}_{role}" for role in ("owner", "writer", "reader")}
        if any(len(name.encode()) > _MOST_BYTES for name in names.values()):
            raise DatabaseNameTooLong(f"{database!r} is too long: {DatabaseNameTooLong.__doc__}")
        roles = [Role(name, _make(connection, name)) for name in names.values()]
        place = {"database": sql.Identifier(database), "schema": sql.Identifier(schema)}
        who = {role: sql.Identifier(name) for role, name in names.items()}
        _run(connection, _PLACES, **place, **who)
        for table in made_tables(connection):
            _run(connection, _TAKE, table=sql.Identifier(table), **who)
        for table, kind in connection.execute(_RELATIONS, (names["owner"],)).fetchall():
            grant = _SEQUENCE if kind == "S" else _TABLE
            _run(connection, grant, table=sql.Identifier(table), **who)
        _run(connection, _MIGRATIONS, **who)
        shared = bool(_one(connection, _SHARED, names["owner"]))
        if not shared:
            _run(connection, _EVERYONE, **place)
    return Roles(roles, shared)


def _make(connection: Connection, name: str) -> str | None:
    """Make a role if it is not there, and give its password; the server and its logs see a hash of it."""
    if _one(connection, "SELECT count(*) FROM pg_roles WHERE rolname = %s", name):
        return None
    password = secrets.token_hex(32)
    hashed = connection.pgconn.encrypt_password(password.encode(), name.encode(), b"scram-sha-256").decode()
    statement = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(name), sql.Literal(hashed))
    connection.execute(statement)
    return password


def _run(connection: Connection, statements: str, **names: sql.Identifier) -> None:
    """Run statements with the names that they have in braces."""
    connection.execute(sql.SQL(statements).format(**names))  # pyright: ignore[reportArgumentType]  # constants of ours


def _one(connection: Connection, query: str | bytes, *arguments: str) -> object:
    row = connection.execute(query, arguments or None).fetchone()  # pyright: ignore[reportArgumentType, reportCallIssue]  # a constant
    return row and row[0]
