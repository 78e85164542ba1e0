"""What roles may do beyond what Playhead grants them: attributes, memberships, grants of others."""

from collections.abc import Collection, Mapping, Sequence

import msgspec

from playhead.projections.postgres import SQL, Connection
from playhead.streams.errors import PlayheadError

_POWERS, _GRANTS = ((SQL / f"roles_{name}.sql").read_bytes() for name in ("powers", "grants"))
_REACHED = b"""SELECT role.rolname, other.rolname FROM pg_roles AS role, pg_roles AS other
WHERE role.rolname = ANY(%s) AND pg_has_role(role.oid, other.oid, 'MEMBER')"""
_TABLES = frozenset({"OWNER", "TRUNCATE", "REFERENCES", "TRIGGER", "MAINTAIN"})
"""What neither the writer nor the reader may do with a table."""
_ROWS = frozenset({"INSERT", "UPDATE", "DELETE"})


class RoleTooPowerful(PlayheadError):
    """A role may do more than its work needs: take that from it as a superuser, then run `playhead db roles` again."""


class Power(msgspec.Struct, frozen=True):
    """Something that a role is, has or lacks, and the statement that changes it."""

    role: str
    what: str
    statement: str
    is_refused: bool

    def __str__(self) -> str:
        return f"{self.what} ({self.statement})"


class Grant(msgspec.Struct, frozen=True):
    """What one role, or PUBLIC, was granted: a word of SQL, and the table, schema or database."""

    role: str
    privilege: str
    thing: str

    def __str__(self) -> str:
        return f"{self.privilege} on {self.thing}"


def powers(connection: Connection, names: Sequence[str]) -> list[Power]:
    """What the administrator should know about roles, the owner first; those that are not there have nothing.

    No role may be a member of one before it.

    Raises:
        RoleTooPowerful: names each role that may do more than any grant takes away, and the statements against it.
    """
    arguments = {"names": list(names), "owner": names[0]}
    found = [Power(*row) for row in connection.execute(_POWERS, arguments)]
    _refuse([f"{one.role} {one}" for one in found if one.is_refused])
    return found


def grants(connection: Connection, owner: str, tables: Sequence[str]) -> set[Grant]:
    """Every grant on these tables, on those of the owner, on their schema and the database."""
    return {Grant(*row) for row in connection.execute(_GRANTS, {"owner": owner, "tables": list(tables)})}


def refuse_indirect(connection: Connection, found: set[Grant], writable: Mapping[str, Collection[str] | None]) -> None:
    """Refuse grants on our tables that reach a role through others, or that others made.

    `writable` are the tables that each role may write, None for all but that of the migrations.

    Raises:
        RoleTooPowerful: names them.
    """
    reached = {*map(tuple, connection.execute(_REACHED, (list(writable),)))}
    reached |= {(role, "PUBLIC") for role in writable}
    _refuse(
        [
            f"{role} has {one} through {one.role}"
            for one in sorted(found, key=str)
            for role, tables in writable.items()
            if (role, one.role) in reached and one.privilege in _too_much(one, tables)
        ]
    )


def _too_much(grant: Grant, writable: Collection[str] | None) -> frozenset[str]:
    if grant.thing.startswith("later sequences"):
        return frozenset({"UPDATE"})
    may_write = not grant.thing.startswith("playhead_migrations") if writable is None else grant.thing in writable
    return _TABLES if may_write else _TABLES | _ROWS


def _refuse(found: list[str]) -> None:
    if found:
        raise RoleTooPowerful(f"nothing was changed, as {'; '.join(found)}. {RoleTooPowerful.__doc__}")
