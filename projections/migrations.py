"""The database's schema, brought up to date by numbered SQL files that are applied once and never altered.

Core has its own, and each domain a directory of them. A name is scoped by its domain, as `invoices/0001_revenue`.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path

import psycopg
from psycopg import sql

from playhead.projections.migration_files import migrations
from playhead.projections.postgres import SQL, Connection, connect
from playhead.projections.relocation import find_earlier, find_marker, relocate
from playhead.streams.domains.domain import Domain
from playhead.streams.errors import PlayheadError
from playhead.streams.names import SCHEMA

LOCK = 0x504C4159
""""PLAY": any number that nothing else in the database locks; held by who changes tables or what roles may do."""

_MAKES = re.compile(rb"^CREATE TABLE (\w+)", re.MULTILINE)
_AWAY = ("08", "57P")
"""Classes of SQLSTATE that say that Postgres is away; no file is to blame."""
_TABLE = (SQL / "migrations_table.sql").read_bytes()
_STRANGERS = (SQL / "strangers.sql").read_bytes()
_OWNER = (SQL / "owner_role.sql").read_bytes()
_TABLES_OWNER = (SQL / "tables_owner.sql").read_bytes()
_UNUSABLE = (SQL / "unusable.sql").read_bytes()
_OURS = ".playhead_migrations"
_NAMED = 3
"""Tables of another program that a message names."""


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


class SchemaNotCreated(PlayheadError):
    """The schema of the tables cannot be created: create it as the owner of the database, or name another one."""


class SchemaNotUsable(PlayheadError):
    """The role may not use the schema of the tables: grant it USAGE on the schema."""


class DatabaseNewer(PlayheadError):
    """The database was upgraded by a newer Playhead: install that version or a later one."""


def upgrade(
    database_url: str,
    files: Mapping[str, Path] | None = None,
    *,
    schema: str = SCHEMA,
    shared: bool = False,
    tell: Callable[[str], object] = lambda _: None,
) -> list[str]:
    """Apply what is missing, all of it or nothing, and give its names; processes that start together take turns.

    A database without any of our tables must have no others, unless it is to be `shared`. Tables of an earlier version
    move into `schema`, and `tell` is told. If `make_roles` made an owner, tables are made as that one, whoever runs
    this.

    Raises:
        DatabaseForeign: the database is another program's, or the tables are in another schema.
        DatabaseNotOwned: migrations are missing, and we may not make tables as their owner, or move them.
        SchemaNotCreated: we may not create the schema.
        SchemaNotUsable: it is there, and we may not use it.
        TablesInUse: tables of an earlier version cannot be moved now.
        NotRelocated: it cannot be told which tables are ours.
        MigrationAltered: a file differs from the one that was applied.
        MigrationFailed: Postgres refuses a file.
        MigrationGone: a domain has no file of a migration that was applied.
        DatabaseNewer: the database has migrations this code does not know.
    """
    known = migrations() if files is None else files
    with (
        connect(database_url, "playhead-migrations", statement_timeout=0, schema=schema) as connection,
        connection.transaction(),
    ):
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
        _refuse_unusable(connection)
        _refuse_moved(connection, schema)
        earlier = None if _is_ours(connection) else find_earlier(connection)
        if earlier is None and not shared:
            _refuse_foreign(connection)
        if _become_owner(connection, known, schema if earlier is None else earlier):
            _create(connection, schema, earlier)
            if earlier is not None:
                _relocate(connection, earlier, schema, known, tell)
            connection.execute(_TABLE)
        return _apply(connection, known)


def require_upgraded(connection: Connection) -> None:
    """Refuse a database whose tables this version cannot use yet.

    Raises:
        DatabaseNotUpgraded: names the migrations that are missing.
        SchemaNotUsable: the role cannot see the tables.
    """
    missing = lacking(connection)
    if missing:
        _refuse_unusable(connection)
        if (where := unmoved(connection)) is not None:
            raise DatabaseNotUpgraded(f"{where}. Run `playhead db upgrade`")
        raise DatabaseNotUpgraded(f"the database lacks {', '.join(missing)}: run `playhead db upgrade`")


def unmoved(connection: Connection) -> str | None:
    """Where tables of an earlier version wait to be moved, as a sentence; None if there are none."""
    if _is_ours(connection) or (earlier := find_earlier(connection)) is None:
        return None
    return (
        f"the tables are in the schema {earlier}, where an earlier version made them: `playhead db upgrade` moves them;"
        f" with PLAYHEAD_SCHEMA={earlier} they stay there"
    )


def lacking(connection: Connection, files: Mapping[str, Path] | None = None) -> list[str]:
    """Names of the migrations that are to be applied; changes nothing."""
    done = applied(connection)
    return [name for name in (migrations() if files is None else files) if name not in done]


def applied(connection: Connection) -> set[str]:
    """Names of the migrations that the database has; those of a domain begin with its name and a slash."""
    if not _is_ours(connection):
        return set()
    return {str(name) for (name,) in connection.execute("SELECT name FROM playhead_migrations")}


def gone(connection: Connection) -> list[str]:
    """Tables that an applied migration made and somebody dropped; changes nothing."""
    made = _made(connection)
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
    return ["playhead_migrations", *(name for name in _made(connection) if name not in missing)]


def tables_of(domains: Iterable[Domain]) -> list[str]:
    """Tables that the migrations of core and of some domains make."""
    return [table.decode() for path in migrations(domains).values() for table in _MAKES.findall(path.read_bytes())]


def _made(connection: Connection) -> list[str]:
    known = migrations()
    missing = set(lacking(connection, known))
    return [
        table.decode()
        for name, path in known.items()
        if name not in missing
        for table in _MAKES.findall(path.read_bytes())
    ]


def _become_owner(connection: Connection, known: Mapping[str, Path], schema: str) -> bool:
    """Go on as the owner of the tables there for this transaction, if they have one; False if nothing is to be made."""
    row = connection.execute(_OWNER, (schema,)).fetchone()
    if row is None:
        return True
    owner, may = row
    if may:
        connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(owner)))
    elif missing := lacking(connection, known):
        problem = unmoved(connection) or f"the database lacks {', '.join(missing)}"
        raise DatabaseNotOwned(
            f"{problem}, and its tables belong to the role {owner}: run `playhead db upgrade` with the DATABASE_URL of"
            f" {owner}"
        )
    return bool(may)


def _is_ours(connection: Connection) -> bool:
    row = connection.execute(
        "SELECT relkind = 'r' FROM pg_class WHERE oid = to_regclass('playhead_migrations')"
    ).fetchone()
    return row is not None and bool(row[0])


def _create(connection: Connection, schema: str, earlier: str | None) -> None:
    """Create the schema if it is not there; it belongs to the owner of the tables that move into it."""
    if connection.execute("SELECT FROM pg_namespace WHERE nspname = %s", (schema,)).fetchone() is not None:
        return
    owner = connection.execute(_TABLES_OWNER, (earlier,)).fetchone()
    statement = sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema))
    if owner is not None:
        statement += sql.SQL(" AUTHORIZATION {}").format(sql.Identifier(owner[0]))
    try:
        connection.execute(statement)
    except psycopg.errors.InsufficientPrivilege as error:
        raise SchemaNotCreated(
            f"{connection.info.user} may not create the schema {schema} in the database {connection.info.dbname}: run"
            f" `CREATE SCHEMA {schema} AUTHORIZATION {connection.info.user}` as the owner of the database, or set"
            " PLAYHEAD_SCHEMA to a schema in which it may create tables, such as public"
        ) from error


def _relocate(
    connection: Connection, earlier: str, schema: str, known: Mapping[str, Path], tell: Callable[[str], object]
) -> None:
    """Move the tables of an earlier version, and say so.

    Raises:
        DatabaseNotOwned: we may not.
    """
    place = sql.Identifier(earlier, "playhead_migrations")
    applied = {str(name) for (name,) in connection.execute(sql.SQL("SELECT name FROM {}").format(place))}
    try:
        relocate(
            connection, earlier, schema, partial(_make, connection, [known[one] for one in known if one in applied])
        )
    except psycopg.errors.InsufficientPrivilege as error:
        said = str(error).splitlines()[0]
        raise DatabaseNotOwned(
            f"the tables cannot be moved from the schema {earlier} to {schema}: {said}. Run `playhead db upgrade` as"
            f" their owner, who may create tables in {schema}, or set PLAYHEAD_SCHEMA={earlier} to leave them there"
        ) from error
    tell(f"the tables were moved from the schema {earlier} to {schema}")
    left = sorted({name.partition("/")[0] for name in applied - known.keys() if "/" in name})
    if left:
        tell(
            f"tables of {', '.join(left)}, which is not installed, stay in the schema {earlier}: before you install it"
            f" again, run `ALTER TABLE {earlier}.TABLE SET SCHEMA {schema}` for each"
        )


def _make(connection: Connection, files: Iterable[Path]) -> None:
    connection.execute(_TABLE)
    for path in files:
        _run(connection, path, path.read_bytes())


def _refuse_unusable(connection: Connection) -> None:
    """Refuse a schema in which this role sees no tables even if there are some."""
    row = connection.execute(_UNUSABLE).fetchone()
    if row is not None:
        user = connection.info.user
        raise SchemaNotUsable(
            f"{user} may not use the schema {row[0]}: run `GRANT USAGE ON SCHEMA {row[0]} TO {user}` as its owner"
        )


def _refuse_moved(connection: Connection, schema: str) -> None:
    if (moved := find_marker(connection)) is not None:
        raise DatabaseForeign(f"the database has {moved}, and PLAYHEAD_SCHEMA names {schema}: set it to that schema")


def _refuse_foreign(connection: Connection) -> None:
    if _is_ours(connection):
        return
    found = [str(name) for (name,) in connection.execute(_STRANGERS)]
    ours = [name.removesuffix(_OURS) for name in found if name.endswith(_OURS)]
    if ours:
        raise DatabaseForeign(
            f"the database {connection.info.dbname} has tables of Playhead in the schema {' and '.join(ours)}: if they"
            f" are yours, set PLAYHEAD_SCHEMA={ours[0]}; if this is another installation, run `playhead db upgrade"
            " --share-database` once"
        )
    if found:
        others = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
        raise DatabaseForeign(
            f"the database {connection.info.dbname} has tables of another program ({', '.join(found[:_NAMED])}{others})"
            " and none of Playhead: make one of its own (`createdb playhead`) and name it in DATABASE_URL; if both"
            " shall be in this one, run `playhead db upgrade --share-database` once"
        )


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
