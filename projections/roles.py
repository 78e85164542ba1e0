"""The roles of Playhead in Postgres: who owns the tables, who writes rows, who reads them."""

import secrets

import msgspec
from psycopg import sql

from playhead.projections.migrations import LOCK, made_tables, require_upgraded
from playhead.projections.postgres import SQL, Connection, connect
from playhead.projections.powers import Grant, Power, grants, powers, refuse_indirect
from playhead.streams.errors import PlayheadError
from playhead.streams.names import SCHEMA

_PLACES, _TABLE, _EVERYONE = ((SQL / f"roles_{name}.sql").read_text() for name in ("places", "table", "everyone"))
_BOUNDS = (SQL / "roles_bounds.sql").read_text()
_BOUND = "REVOKE ALL ON {table} FROM {writer}, {reader} CASCADE"
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
    """A role of the database, and its password if this call made it; Postgres keeps none that could be read.

    `powers` are what its administrator should know: that it cannot log in, or is a member of another role.
    """

    name: str
    password: str | None
    taken: list[Grant]
    given: list[Grant]
    powers: list[Power]


class Roles(msgspec.Struct, frozen=True):
    """The roles, and whether other programs have tables in the database, so that what everyone may do there stays."""

    roles: list[Role]
    shared: bool


def make_roles(database_url: str, *, schema: str = SCHEMA) -> Roles:
    """Make the roles that are missing and grant each what it needs, on the tables of today and of later migrations.

    All of it or nothing. The tables become the owner's. What a role that was there may do beyond that is taken from it.

    Raises:
        DatabaseNotUpgraded: the tables are not there yet.
        DatabaseNameTooLong: names the database.
        RoleTooPowerful: a role may do what cannot be taken from it here, such as a superuser.
        psycopg.errors.InsufficientPrivilege: the user may make no roles, or does not own the tables.
    """
    with connect(database_url, "playhead-roles", schema=schema) as connection, connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
        require_upgraded(connection)
        database = connection.info.dbname
        names = {role: f"{database}_{role}" for role in ("owner", "writer", "reader")}
        if any(len(name.encode()) > _MOST_BYTES for name in names.values()):
            raise DatabaseNameTooLong(f"{database!r} is too long: {DatabaseNameTooLong.__doc__}")
        found = powers(connection, **names)
        before = grants(connection, names["owner"], made_tables(connection))
        passwords = {name: _make(connection, name) for name in names.values()}
        place = {"database": sql.Identifier(database), "schema": sql.Identifier(schema)}
        who = {role: sql.Identifier(name) for role, name in names.items()}
        _run(connection, _BOUNDS, **place, **who)
        _run(connection, _PLACES, **place, **who)
        for table in made_tables(connection):
            _run(connection, _TAKE, table=sql.Identifier(table), **who)
        for table, kind in connection.execute(_RELATIONS, (names["owner"],)).fetchall():
            _run(connection, _BOUND, table=sql.Identifier(table), **who)
            grant = _SEQUENCE if kind == "S" else _TABLE
            _run(connection, grant, table=sql.Identifier(table), **who)
        _run(connection, _MIGRATIONS, **who)
        after = grants(connection, names["owner"], made_tables(connection))
        refuse_indirect(connection, after, names["writer"], names["reader"])
        shared = bool(_one(connection, _SHARED, names["owner"]))
        if not shared:
            _run(connection, _EVERYONE, **place)
    return Roles([_role(name, password, before, after, found) for name, password in passwords.items()], shared)


def _role(name: str, password: str | None, before: set[Grant], after: set[Grant], found: list[Power]) -> Role:
    taken, given = (
        sorted((one for one in grants if one.role == name), key=str) for grants in (before - after, after - before)
    )
    return Role(name, password, taken, given, [one for one in found if one.role == name])


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
