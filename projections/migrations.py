"""The database's schema, brought up to date by numbered SQL files that are applied once and never altered.

Core has its own, and each domain a directory of them. A name is scoped by its domain, as `invoices/0001_revenue`.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import psycopg
from psycopg import sql

from playhead.projections.postgres import SQL, Connection, connect
from playhead.streams.domains.discovery import installed
from playhead.streams.domains.domain import Domain
from playhead.streams.errors import DomainInvalid, PlayheadError

LOCK = 0x504C4159
""""PLAY": any number that nothing else in the database locks; held by who changes tables or what roles may do."""

_MAKES = re.compile(rb"^CREATE TABLE (\w+)", re.MULTILINE)
_NAME = re.compile(r"(\d{4})_.+\.sql", re.ASCII)
_AWAY = ("08", "57P")
"""Classes of SQLSTATE that say that Postgres is away; no file is to blame."""
_TABLE = (SQL / "migrations_table.sql").read_bytes()
_STRANGERS = (SQL / "strangers.sql").read_bytes()
_OWNER = (SQL / "owner_role.sql").read_bytes()
_NAMED = 3
"""Tables of another program that a message names."""


_UNSCOPED = frozenset({"jobs/0002_jobs", "organizations/0003_organizations", "recordings/0004_recordings"})
"""Written before there were domains: they keep their names."""


class MigrationAltered(PlayheadError):
    """A migration that was applied has been altered since: restore the file and add a new one instead."""


class MigrationFailed(PlayheadError):
    """A migration failed, and nothing was applied: fix its file, then run `playhead db upgrade` again."""


class MigrationGone(PlayheadError):
    """The file of an applied migration is missing: restore it, or install the version of its package that has it."""


class DatabaseNotUpgraded(PlayheadError):
    """The database lacks migrations of this version: run `playhead db upgrade`."""


class DatabaseForeign(PlayheadError):
    """The database is another program's: name one of Playhead's own, or run `playhead db upgrade --share-database`."""


class DatabaseNotOwned(PlayheadError):
    """The tables belong to another role: run `playhead db upgrade` with the DATABASE_URL of that role."""


class DatabaseNewer(PlayheadError):
    """The database was upgraded by a newer Playhead: install that version or a later one."""


def migrations(domains: Iterable[Domain] | None = None) -> dict[str, Path]:
    """Every migration of core and of the installed domains, in the order in which they are applied.

    Raises:
        DomainInvalid: a domain names a directory that has none, or an SQL file there has no number of its own.
    """
    found = {path.stem: path for path in sorted(SQL.glob("[0-9]*_*.sql"))}
    for domain in installed().domains if domains is None else domains:
        if domain.migrations is not None:
            for path in _numbered(domain, domain.migrations):
                name = f"{domain.name}/{path.stem}"
                found[path.stem if name in _UNSCOPED else name] = path
    return found


def upgrade(database_url: str, files: Mapping[str, Path] | None = None, *, shared: bool = False) -> list[str]:
    """Apply what is missing, all of it or nothing, and give its names; processes that start together take turns.

    A database without any of our tables must have no others, unless it is to be `shared`. If `make_roles` made an
    owner, tables are made as that one, whoever runs this.

    Raises:
        DatabaseForeign: the database is another program's.
        DatabaseNotOwned: migrations are missing, and we may not make tables as their owner.
        MigrationAltered: a file differs from the one that was applied.
        MigrationFailed: Postgres refuses a file.
        MigrationGone: a domain has no file of a migration that was applied.
        DatabaseNewer: the database has migrations this code does not know.
    """
    known = migrations() if files is None else files
    with connect(database_url, "playhead-migrations", statement_timeout=0) as connection, connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
        if not shared:
            _refuse_foreign(connection)
        if _become_owner(connection, known):
            connection.execute(_TABLE)
        return _apply(connection, known)


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
    done = applied(connection)
    return [name for name in (migrations() if files is None else files) if name not in done]


def applied(connection: Connection) -> set[str]:
    """Names of the migrations that the database has; those of a domain begin with its name and a slash."""
    if not _is_ours(connection):
        return set()
    return {str(name) for (name,) in connection.execute("SELECT name FROM playhead_migrations")}


def gone(connection: Connection, files: Mapping[str, Path] | None = None) -> list[str]:
    """Tables that an applied migration made and somebody dropped; changes nothing."""
    known = migrations() if files is None else files
    made = _made(connection, known)
    found = {
        name
        for (name,) in connection.execute(
            "SELECT name FROM unnest(%s::text[]) AS name WHERE to_regclass(name) IS NOT NULL", (made,)
        )
    }
    return [name for name in made if name not in found]


def made_tables(connection: Connection) -> list[str]:
    """Tables that the applied migrations made and that are there, with the one of the migrations themselves."""
    missing = set(gone(connection))
    return ["playhead_migrations", *(name for name in _made(connection, migrations()) if name not in missing)]


def _made(connection: Connection, known: Mapping[str, Path]) -> list[str]:
    missing = set(lacking(connection, known))
    return [
        table.decode()
        for name, path in known.items()
        if name not in missing
        for table in _MAKES.findall(path.read_bytes())
    ]


def _become_owner(connection: Connection, known: Mapping[str, Path]) -> bool:
    """Go on as the owner of the tables for this transaction, if they have one; False if nothing is to be made."""
    row = connection.execute(_OWNER).fetchone()
    if row is None:
        return True
    owner, may = row
    if may:
        connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(owner)))
    elif missing := lacking(connection, known):
        raise DatabaseNotOwned(
            f"the database lacks {', '.join(missing)}, and its tables belong to the role {owner}: run"
            f" `playhead db upgrade` with the DATABASE_URL of {owner}"
        )
    return bool(may)


def _is_ours(connection: Connection) -> bool:
    row = connection.execute("SELECT to_regclass('playhead_migrations') IS NOT NULL").fetchone()
    return row is not None and bool(row[0])


def _refuse_foreign(connection: Connection) -> None:
    if _is_ours(connection):
        return
    if found := [str(name) for (name,) in connection.execute(_STRANGERS)]:
        others = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
        raise DatabaseForeign(
            f"the database {connection.info.dbname} has tables of another program ({', '.join(found[:_NAMED])}{others})"
            " and none of Playhead: make one of its own (`createdb playhead`) and name it in DATABASE_URL; if both"
            " shall be in this one, run `playhead db upgrade --share-database` once"
        )


def _numbered(domain: Domain, directory: Path) -> list[Path]:
    numbered: dict[str, Path] = {}
    for path in sorted(one for one in directory.glob("*") if one.suffix.lower() == ".sql"):
        found = _NAME.fullmatch(path.name)
        if found is None:
            raise DomainInvalid(
                f"{path}, in the directory of migrations of the domain {domain}, is not named by a number of four"
                " digits and words, such as 0001_tables.sql: rename it, or move it to another directory if it is no"
                " migration"
            )
        if (other := numbered.get(found[1])) is not None:
            raise DomainInvalid(
                f"two migrations of the domain {domain} have one number, {other} and {path.name}: number them in the"
                " order in which they are to be applied"
            )
        numbered[found[1]] = path
    if not numbered:
        raise DomainInvalid(
            f"the domain {domain} has no numbered SQL file such as 0001_tables.sql in {directory}: check that its"
            " package includes them as data"
        )
    return list(numbered.values())


def _apply(connection: Connection, files: Mapping[str, Path]) -> list[str]:
    applied = {
        str(name): str(sha256) for name, sha256 in connection.execute("SELECT name, sha256 FROM playhead_migrations")
    }
    _refuse_unknown(applied, files)
    missing: list[str] = []
    for name, path in files.items():
        statements = path.read_bytes()
        sha256 = hashlib.sha256(statements).hexdigest()
        if name not in applied:
            _run(connection, path, statements)
            connection.execute("INSERT INTO playhead_migrations (name, sha256) VALUES (%s, %s)", (name, sha256))
            missing.append(name)
        elif applied[name] != sha256:
            raise MigrationAltered(f"{name}.sql was changed after it was applied: restore it and add a new migration")
    return missing


def _refuse_unknown(applied: Iterable[str], files: Mapping[str, Path]) -> None:
    """Refuse a database with migrations that are not here; those of a domain that is not installed are let be."""
    directories = {name.partition("/")[0]: path.parent for name, path in files.items() if "/" in name}
    unknown = sorted(set(applied) - files.keys())
    if of_core := [name for name in unknown if "/" not in name]:
        raise DatabaseNewer(f"the database has {', '.join(of_core)}, which this Playhead lacks: install a newer one")
    for name in unknown:
        domain, _, file = name.partition("/")
        if domain in directories:
            raise MigrationGone(
                f"the database has {name}, and {directories[domain] / file}.sql is missing: restore the file, or"
                f" install the version of the domain {domain} that has it"
            )


def _run(connection: Connection, path: Path, statements: bytes) -> None:
    try:
        connection.execute(statements)
    except psycopg.Error as error:
        if error.sqlstate is None or error.sqlstate.startswith(_AWAY):
            raise
        position = error.diag.statement_position
        line = (
            ""
            if position is None
            else f", line {statements.decode(errors='replace')[: int(position)].count(chr(10)) + 1}"
        )
        said = "; ".join(part.strip() for part in str(error).splitlines() if part.strip())
        raise MigrationFailed(f"{path}{line}: {said}. {MigrationFailed.__doc__}") from error
