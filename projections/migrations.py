"""The database's schema, brought up to date by numbered SQL files that are applied once and never altered.

Core has its own, and each domain a directory of them. A name is scoped by its domain, as `invoices/0001_revenue`.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from playhead.projections.postgres import SQL, Connection, connect
from playhead.streams.domains.discovery import installed
from playhead.streams.domains.domain import Domain
from playhead.streams.errors import DomainInvalid, PlayheadError

_LOCK = 0x504C4159  # "PLAY": any number that nothing else in the database locks
_MAKES = re.compile(rb"^CREATE TABLE (\w+)", re.MULTILINE)
_TABLE = (SQL / "migrations_table.sql").read_bytes()


_UNSCOPED = frozenset({"jobs/0002_jobs", "organizations/0003_organizations", "recordings/0004_recordings"})
"""Written before there were domains: they keep their names."""


class MigrationAltered(PlayheadError):
    """A migration that was applied has been altered since: restore the file and add a new one instead."""


class DatabaseNotUpgraded(PlayheadError):
    """The database lacks migrations of this version: run `playhead db upgrade`."""


class DatabaseNewer(PlayheadError):
    """The database was upgraded by a newer Playhead: install that version or a later one."""


def migrations(domains: Iterable[Domain] | None = None) -> dict[str, Path]:
    """Every migration of core and of the installed domains, in the order in which they are applied.

    Raises:
        DomainInvalid: a domain names a directory that has none.
    """
    found = {path.stem: path for path in _numbered(SQL)}
    for domain in installed().domains if domains is None else domains:
        if domain.migrations is not None:
            if not (numbered := _numbered(domain.migrations)):
                raise DomainInvalid(
                    f"the domain {domain.name} ({domain.module}) has no numbered SQL file such as 0001_tables.sql in"
                    f" {domain.migrations}: check that its package includes them as data"
                )
            for path in numbered:
                name = f"{domain.name}/{path.stem}"
                found[path.stem if name in _UNSCOPED else name] = path
    return found


def upgrade(database_url: str, files: Mapping[str, Path] | None = None) -> list[str]:
    """Apply what is missing, all of it or nothing, and give its names; processes that start together take turns.

    Raises:
        MigrationAltered: a file differs from the one that was applied.
        DatabaseNewer: the database has migrations this code does not know.
    """
    statements = {name: path.read_bytes() for name, path in (migrations() if files is None else files).items()}
    with connect(database_url, "playhead-migrations", statement_timeout=0) as connection, connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        connection.execute(_TABLE)
        return _apply(connection, statements)


def require_upgraded(connection: Connection, files: Mapping[str, Path] | None = None) -> None:
    """Refuse a database whose tables this version cannot use yet.

    Raises:
        DatabaseNotUpgraded: names the migrations that are missing.
    """
    missing = lacking(connection, files)
    if missing:
        raise DatabaseNotUpgraded(f"the database lacks {', '.join(missing)}: run `playhead db upgrade`")


def lacking(connection: Connection, files: Mapping[str, Path] | None = None) -> list[str]:
    """Names of the migrations that are to be applied; changes nothing."""
    names = list(migrations() if files is None else files)
    row = connection.execute("SELECT to_regclass('playhead_migrations') IS NOT NULL").fetchone()
    if row is None or not row[0]:
        return names
    applied = {name for (name,) in connection.execute("SELECT name FROM playhead_migrations")}
    return [name for name in names if name not in applied]


def gone(connection: Connection, files: Mapping[str, Path] | None = None) -> list[str]:
    """Tables that an applied migration made and somebody dropped; changes nothing."""
    known = migrations() if files is None else files
    missing = set(lacking(connection, known))
    made = [
        table.decode()
        for name, path in known.items()
        if name not in missing
        for table in _MAKES.findall(path.read_bytes())
    ]
    found = {
        name
        for (name,) in connection.execute(
            "SELECT name FROM unnest(%s::text[]) AS name WHERE to_regclass(name) IS NOT NULL", (made,)
        )
    }
    return [name for name in made if name not in found]


def _numbered(directory: Path) -> list[Path]:
    return sorted(directory.glob("[0-9]*_*.sql"))


def _apply(connection: Connection, files: dict[str, bytes]) -> list[str]:
    applied = {
        str(name): str(sha256) for name, sha256 in connection.execute("SELECT name, sha256 FROM playhead_migrations")
    }
    scopes = {name.partition("/")[0] for name in files if "/" in name}
    unknown = sorted(
        name for name in applied.keys() - files.keys() if "/" not in name or name.partition("/")[0] in scopes
    )
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
            raise MigrationAltered(f"{name}.sql was changed after it was applied: restore it and add a new migration")
    return missing
