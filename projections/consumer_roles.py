"""A role for one consumer: it reads the tables of its domain and of those that it requires, and writes its own."""

from collections.abc import Iterable

import msgspec
from psycopg import sql

from playhead.projections.migrations import tables_of
from playhead.projections.postgres import SQL, Connection
from playhead.streams.domains.catalogue import Catalogue
from playhead.streams.domains.domain import Domain
from playhead.streams.errors import InvalidSetting

ROLES = ("owner", "writer", "reader")
_PLACES = (SQL / "roles_consumer.sql").read_text()
_SEQUENCES = (SQL / "sequences_of.sql").read_bytes()
_TEMPORARY = "GRANT TEMPORARY ON DATABASE {database} TO {role}"
_READ = "GRANT SELECT ON {table} TO {role}"
_WRITE = "GRANT INSERT, UPDATE, DELETE ON {table} TO {role}"
_NUMBER = "GRANT USAGE, SELECT ON SEQUENCE {table} TO {role}"
_PROGRESS = frozenset({"playhead_checkpoints", "playhead_installation"})
"""What every projection of tables writes beside its own."""


class ConsumerRole(msgspec.Struct, frozen=True):
    """The role of a consumer, and the tables that it reads and writes; a worker, a clock and the log write none."""

    name: str
    reads: frozenset[str]
    writes: frozenset[str]


def roles_of(consumers: Iterable[str], catalogue: Catalogue, database: str) -> list[ConsumerRole]:
    """The role of each consumer.

    Raises:
        InvalidSetting: there is no such consumer, or it has the name of another role.
    """
    return [_role_of(consumer, catalogue, database) for consumer in dict.fromkeys(consumers)]


def grant(connection: Connection, role: ConsumerRole, **place: sql.Identifier) -> None:
    """Give a role what it needs, and take from it what else it has in the schema and the database; not on tables."""
    who = {"role": sql.Identifier(role.name), **place}
    _run(connection, _PLACES, **who)
    if role.writes:
        _run(connection, _TEMPORARY, **who)
    for statement, tables in ((_READ, role.reads), (_WRITE, role.writes), (_NUMBER, _sequences(connection, role))):
        for table in sorted(tables):
            _run(connection, statement, table=sql.Identifier(table), **who)


def _role_of(consumer: str, catalogue: Catalogue, database: str) -> ConsumerRole:
    catalogue.require(consumer)
    if consumer in ROLES:
        raise InvalidSetting(f"{consumer} is the name of a role: rename the consumer")
    core, domain = frozenset({"playhead_migrations", *tables_of(())}), catalogue.domain_of(consumer)
    read: list[Domain] = []
    if domain is not None:
        read = [one for one in catalogue.domains if one is domain or one.name in domain.requires]
    writes = frozenset[str]()
    if domain is not None and consumer in catalogue.projections:
        writes = frozenset(tables_of((domain,))) - core | _PROGRESS
    return ConsumerRole(f"{database}_{consumer.replace('-', '_')}", frozenset(tables_of(read)) | core, writes)


def _sequences(connection: Connection, role: ConsumerRole) -> list[str]:
    return [str(name) for (name,) in connection.execute(_SEQUENCES, (sorted(role.writes),))]


def _run(connection: Connection, statements: str, **names: sql.Identifier) -> None:
    connection.execute(sql.SQL(statements).format(**names))  # pyright: ignore[reportArgumentType]  # constants of ours
