"""The roles of the embedded Postgres: a superuser, whose password no program gets, and `playhead`, who owns databases.

Version 0.1 had one role, `playhead`, with all rights. A server cannot do without the superuser that it was made with,
so that one is renamed. Another superuser does this, as none can rename itself; it is there until all is done.
"""

from collections.abc import Callable
from pathlib import Path

import msgspec
import psycopg
from psycopg import sql
from psycopg.rows import class_row

Connection = psycopg.Connection[tuple[object, ...]]
Connect = Callable[[str, str, str], Connection]
"""Connects as a role, with its password, to a database; each statement is a transaction."""

ROLE = DATABASE = "playhead"
SUPERUSER = "playhead_superuser"
_CONVERSION = "playhead_conversion"
_BOOTSTRAP = 10
"""The oid of the superuser that a server was made with."""
_ANY = "postgres"
"""A database that is always there."""

_FOUND, _OWNERSHIP = (Path(__file__).with_name(f"{name}.sql").read_bytes() for name in ("roles", "ownership"))


class _Found(msgspec.Struct, frozen=True):
    role: bool
    database: bool
    conversion: bool


class Passwords(msgspec.Struct, frozen=True):
    """Of the role of programs, and of the superuser."""

    role: str
    superuser: str


def make_roles(connect: Connect, passwords: Passwords) -> None:
    """Make the role and the database that are missing; turn the superuser of version 0.1 into them.

    Killed in between, it resumes at the next start.

    Raises:
        psycopg.Error: no password is right.
    """
    try:
        connection = connect(SUPERUSER, passwords.superuser, _ANY)
    except psycopg.OperationalError:
        _rename_superuser(connect, passwords)
        connection = connect(SUPERUSER, passwords.superuser, _ANY)
    with connection:
        found = _look(connection)
        if not found.role:
            _make_role(connection, passwords.role)
        if not found.database:
            _run(connection, "CREATE DATABASE {database} OWNER {role}")
        if found.conversion:
            _hand_over(connection, connect, passwords.superuser)


def _rename_superuser(connect: Connect, passwords: Passwords) -> None:
    with connect(ROLE, passwords.role, _ANY) as connection:
        if not _look(connection).conversion:
            password = _hashed(connection, _CONVERSION, passwords.superuser)
            _run(connection, "CREATE ROLE {conversion} SUPERUSER LOGIN PASSWORD {password}", password=password)
    with connect(_CONVERSION, passwords.superuser, _ANY) as connection, connection.transaction():
        _run(connection, "ALTER ROLE {role} RENAME TO {superuser}")
        password = _hashed(connection, SUPERUSER, passwords.superuser)
        _run(connection, "ALTER ROLE {superuser} PASSWORD {password}", password=password)
        _make_role(connection, passwords.role)


def _look(connection: Connection) -> _Found:
    with connection.cursor(row_factory=class_row(_Found)) as cursor:
        found = cursor.execute(_FOUND).fetchone()
    assert found is not None, "it has one row"
    return found


def _make_role(connection: Connection, password: str) -> None:
    """Who may make databases, as tests do, and nothing else that is not its own."""
    hashed = _hashed(connection, ROLE, password)
    _run(connection, "CREATE ROLE {role} LOGIN CREATEDB PASSWORD {password}", password=hashed)


def _hand_over(connection: Connection, connect: Connect, password: str) -> None:
    """Give the role what it had as a superuser: databases, what is in them, and what other roles may do."""
    for name, owner in connection.execute(
        "SELECT datname, datdba FROM pg_database WHERE datallowconn AND NOT datistemplate"
    ).fetchall():
        with connect(SUPERUSER, password, str(name)) as inside:
            inside.execute(_OWNERSHIP)
        if owner == _BOOTSTRAP and name != _ANY:
            _run(connection, "ALTER DATABASE {name} OWNER TO {role}", name=sql.Identifier(str(name)))
    for (name,) in connection.execute(
        "SELECT rolname FROM pg_roles WHERE oid >= 16384 AND NOT rolsuper AND rolname <> 'playhead'"
    ).fetchall():
        _run(connection, "GRANT {name} TO {role}", name=sql.Identifier(str(name)))
    _run(connection, "DROP ROLE {conversion}")


def _hashed(connection: Connection, name: str, password: str) -> sql.Literal:
    """The server and its log see no password."""
    return sql.Literal(connection.pgconn.encrypt_password(password.encode(), name.encode(), b"scram-sha-256").decode())


def _run(connection: Connection, statement: str, **parts: sql.Composable) -> None:
    names = {"role": ROLE, "database": DATABASE, "superuser": SUPERUSER, "conversion": _CONVERSION}
    identifiers = {name: sql.Identifier(value) for name, value in names.items()}
    connection.execute(sql.SQL(statement).format(**identifiers, **parts))  # pyright: ignore[reportArgumentType]  # ours
