"""The database's schema, brought up to date by numbered SQL files that are applied once and never altered."""

import hashlib
import re
from pathlib import Path

from playhead.projections.postgres import SQL, Connection, connect
from playhead.streams.errors import PlayheadError

_LOCK = 0x504C4159  # "PLAY": any number that nothing else in the database locks
_MAKES = re.compile(rb"^CREATE TABLE (\w+)", re.MULTILINE)
_TABLE = (SQL / "migrations_table.sql").read_bytes()


class MigrationAltered(PlayheadError):
    """A migration that was applied has been altered since: restore the file and add a new one instead."""


class DatabaseNotUpgraded(PlayheadError):
    """The database lacks migrations of this version: run `playhead db upgrade`."""


class DatabaseNewer(PlayheadError):
    """The database was upgraded by a newer Playhead: install that version or a later one."""


def upgrade(database_url: str, directory: Path = SQL) -> list[str]:
    """Apply what is missing, all of it or nothing, and give its names; processes that start together take turns.

    Raises:
        MigrationAltered: a file differs from the one that was applied.
        DatabaseNewer: the database has migrations this code does not know.
    """
    files = {path.stem: path.read_bytes() for path in sorted(directory.glob("[0-9]*_*.sql"))}
    with connect(database_url, "playhead-migrations", statement_timeout=0) as connection, connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        connection.execute(_TABLE)
        return _apply(connection, files)


def require_upgraded(connection: Connection, directory: Path = SQL) -> None:
    """Refuse a database whose tables this version cannot use yet.

    Raises:
        DatabaseNotUpgraded: names the migrations that are missing.
    """
    missing = lacking(connection, directory)
    if missing:
        raise DatabaseNotUpgraded(f"the database lacks {', '.join(missing)}: run `playhead db upgrade`")


def lacking(connection: Connection, directory: Path = SQL) -> list[str]:
    """Names of the migrations that are to be applied; changes nothing."""
    names = sorted(path.stem for path in directory.glob("[0-9]*_*.sql"))
    row = connection.execute("SELECT to_regclass('playhead_migrations') IS NOT NULL").fetchone()
    if row is None or not row[0]:
        return names
    applied = {name for (name,) in connection.execute("SELECT name FROM playhead_migrations")}
    return [name for name in names if name not in applied]


def gone(connection: Connection, directory: Path = SQL) -> list[str]:
    """Tables that an applied migration made and somebody dropped; changes nothing."""
    missing = set(lacking(connection, directory))
    applied = [path for path in sorted(directory.glob("[0-9]*_*.sql")) if path.stem not in missing]
    made = [name.decode() for path in applied for name in _MAKES.findall(path.read_bytes())]
    found = {
        name
        for (name,) in connection.execute(
            "SELECT name FROM unnest(%s::text[]) AS name WHERE to_regclass(name) IS NOT NULL", (made,)
        )
    }
    return [name for name in made if name not in found]


def _apply(connection: Connection, files: dict[str, bytes]) -> list[str]:
    applied = {
        str(name): str(sha256) for name, sha256 in connection.execute("SELECT name, sha256 FROM playhead_migrations")
    }
    unknown = sorted(applied.keys() - files.keys())
    if unknown:
        raise DatabaseNewer(f"the database has {', '.join(unknown)}, which this Playhead lacks: install a newer one")
    missing: list[str] = []
    for name, statements in files.items():
        sha256 = hashlib.sha256(statements).hexdigest()
        if name not in applied:
            connection.execute(statements)
            connection.execute("INSERT INTO playhead_migrations (name, sha256) VALUES (%s, %s)", (name, sha256))
            missing.append(name)
        elif applied[name] != sha256:
            raise MigrationAltered(f"{name}.sql was altered after it was applied: restore it and add a new migration")
    return missing
