"""The roles of Playhead in Postgres: who owns the tables, who writes rows, who reads them."""

import secrets
from collections.abc import Iterable, Mapping

import msgspec
from psycopg import sql

from playhead.projections.consumer_roles import ROLES, grant, roles_of
from playhead.projections.migrations import LOCK, made_tables, require_upgraded
from playhead.projections.postgres import SQL, Connection, connect
from playhead.projections.powers import Grant, Power, grants, powers, refuse_indirect
from playhead.streams.domains.discovery import installed
from playhead.streams.errors import PlayheadError
from playhead.streams.names import SCHEMA

_PLACES, _TABLE, _EVERYONE = ((SQL / f"roles_{name}.sql").read_text() for name in ("places", "table", "everyone"))
_BOUNDS = (SQL / "roles_bounds.sql").read_text()
_BOUND = "REVOKE ALL ON {table} FROM {role} CASCADE"
_TAKE = "ALTER TABLE {table} OWNER TO {owner}"
_SEQUENCE = "GRANT USAGE, SELECT ON SEQUENCE {table} TO {writer}"
_MIGRATIONS = "REVOKE INSERT, UPDATE, DELETE ON playhead_migrations FROM {writer}"
"""What was applied is the owner's to say."""
_SHARED = (SQL / "shared.sql").read_bytes()
_RELATIONS = (SQL / "relations.sql").read_bytes()
_MOST_BYTES = 63
"""Of a name in Postgres; a longer one is cut."""


class DatabaseNameTooLong(PlayheadError):
    """The name of the database leaves no room for those of its roles: use a shorter one."""


class Role(msgspec.Struct, frozen=True):
    """A role of the database, and its password if this call generated it; Postgres keeps none that could be read.

    `powers` are what its administrator should know: that it cannot log in, or is a member of another role.
    """

    name: str
    password: str | None
    is_new: bool
    taken: list[Grant]
    given: list[Grant]
    powers: list[Power]


class Roles(msgspec.Struct, frozen=True):
    """The roles, and whether other programs have tables in the database, so that what everyone may do there stays."""

    roles: list[Role]
    shared: bool


def make_roles(
    database_url: str,
    *,
    schema: str = SCHEMA,
    consumers: Iterable[str] = (),
    passwords: Mapping[str, str] | None = None,
) -> Roles:
    """Make the roles that are missing and grant each what it needs, on the tables of today and of later migrations.

    All of it or nothing. The tables become the owner's. What a role that was there may do beyond that is taken from it.
    Each of the `consumers` gets a role of its own, on the tables of today. With `passwords`, each role gets that of
    its name without that of the database.

    Raises:
        InvalidSetting: there is no such consumer.
        DatabaseNotUpgraded: the tables are not there yet.
        DatabaseNameTooLong: names the database.
        RoleTooPowerful: a role may do what cannot be taken from it here, such as a superuser.
        psycopg.errors.InsufficientPrivilege: the user may make no roles, or does not own the tables.
    """
    with connect(database_url, "playhead-roles", schema=schema) as connection, connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
        require_upgraded(connection)
        database = connection.info.dbname
        names = {role: f"{database}_{role}" for role in ROLES}
        own = roles_of(consumers, installed(), database)
        every = [names["owner"], names["writer"], *(role.name for role in own), names["reader"]]
        if any(len(name.encode()) > _MOST_BYTES for name in every):
            raise DatabaseNameTooLong(f"{database!r} is too long: {DatabaseNameTooLong.__doc__}")
        found = powers(connection, every)
        before = grants(connection, names["owner"], made_tables(connection))
        new = [name for name in every if _make(connection, name)]
        generated = {name: secrets.token_hex(32) for name in new} if passwords is None else {}
        given = {f"{database}_{role}": password for role, password in (passwords or {}).items()}
        for name, password in (generated | given).items():
            _set_password(connection, name, password)
        place = {"database": sql.Identifier(database), "schema": sql.Identifier(schema)}
        who = {role: sql.Identifier(name) for role, name in names.items()}
        _run(connection, _BOUNDS, **place, **who)
        _run(connection, _PLACES, **place, **who)
        for table in made_tables(connection):
            _run(connection, _TAKE, table=sql.Identifier(table), **who)
        for table, kind in connection.execute(_RELATIONS, (names["owner"],)).fetchall():
            for name in every[1:]:
                _run(connection, _BOUND, table=sql.Identifier(table), role=sql.Identifier(name))
            granted = _SEQUENCE if kind == "S" else _TABLE
            _run(connection, granted, table=sql.Identifier(table), **who)
        _run(connection, _MIGRATIONS, **who)
        for role in own:
            grant(connection, role, owner=who["owner"], **place)
        after = grants(connection, names["owner"], made_tables(connection))
        writable = {names["writer"]: None, names["reader"]: (), **{role.name: role.writes for role in own}}
        refuse_indirect(connection, after, writable)
        shared = bool(_one(connection, _SHARED, names["owner"]))
        if not shared:
            _run(connection, _EVERYONE, **place)
    roles = [
        Role(
            name,
            generated.get(name),
            name in new,
            _differing(name, before, after),
            _differing(name, after, before),
            [one for one in found if one.role == name],
        )
        for name in every
    ]
    return Roles(roles, shared)


def _differing(role: str, grants: set[Grant], others: set[Grant]) -> list[Grant]:
    return sorted((one for one in grants - others if one.role == role), key=str)


def _make(connection: Connection, name: str) -> bool:
    """Make a role without a password; False if it is there."""
    if _one(connection, "SELECT count(*) FROM pg_roles WHERE rolname = %s", name):
        return False
    connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(name)))
    return True


def _set_password(connection: Connection, name: str, password: str) -> None:
    """Give a role its password; the server and its logs see a hash of it."""
    hashed = connection.pgconn.encrypt_password(password.encode(), name.encode(), b"scram-sha-256").decode()
    statement = sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(name), sql.Literal(hashed))
    connection.execute(statement)


def _run(connection: Connection, statements: str, **names: sql.Identifier) -> None:
    """Run statements with the names that they have in braces."""
    connection.execute(sql.SQL(statements).format(**names))  # pyright: ignore[reportArgumentType]  # constants of ours


def _one(connection: Connection, query: str | bytes, *arguments: str) -> object:
    row = connection.execute(query, arguments or None).fetchone()  # pyright: ignore[reportArgumentType, reportCallIssue]  # a constant
    return row and row[0]
