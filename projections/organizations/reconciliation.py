"""Brings the organizations that a change touches up to date, as if all sources had come at once.

An organization is a connected component: profiles are the nodes, and `matching.same` says where the edges are. New
nodes join components; a component that lost a node is put together again from its nodes. Its id follows from its
oldest source, its rows from its newest.
"""

from collections.abc import Iterable
from pathlib import Path

import msgspec
from psycopg.sql import SQL, Identifier

from playhead.projections.organizations.matching import Groups, Profile, same
from playhead.projections.organizations.records import Record
from playhead.projections.organizations.rows import NEWEST, Rows, Source, organization_id, rows
from playhead.projections.postgres import Connection
from playhead.streams.events import format_time

_HERE = Path(__file__).parent
_LEFT, _KNOWN, _MEMBERS, _CANDIDATES, _OLDEST, _MATCH, _RENAME, _ASSIGN, _NEWEST = (
    (_HERE / f"{name}.sql").read_bytes()
    for name in ("left", "known", "members", "candidates", "oldest", "match", "rename", "assign", "newest")
)
_TABLES = Rows.__struct_fields__
_DELETE = [
    SQL("DELETE FROM {} WHERE {} = ANY(%s::uuid[])").format(
        Identifier(table), Identifier("id" if table == "organizations" else "organization_id")
    )
    for table in _TABLES
]
_INSERT = {
    table: SQL("INSERT INTO {0} SELECT * FROM jsonb_populate_recordset(NULL::{0}, %s::jsonb)").format(Identifier(table))
    for table in _TABLES
}
_SLICE = 200
_RECORD = msgspec.json.Decoder(Record)


class Change(msgspec.Struct, frozen=True):
    """What became of `sources`: jobs that were written, the profiles they have now, and what they had before."""

    jobs: list[str]
    profiles: dict[str, Profile]
    organizations: set[str]
    left: set[str]


def reconcile(connection: Connection, change: Change) -> None:
    """Derive the rows of every organization that the change touches; the caller holds the lock of the projection."""
    lost = [str(one) for (one,) in connection.execute(_LEFT, (list(change.left),)).fetchall()]
    members = connection.execute(_MEMBERS, (lost,)).fetchall()
    apart = {str(signature): msgspec.convert(found, Profile) for signature, found in members}
    known = {
        str(signature): str(organization)
        for signature, organization in connection.execute(_KNOWN, (list(change.profiles),)).fetchall()
    }
    loose = apart | {signature: found for signature, found in change.profiles.items() if signature not in known}
    groups = Groups()
    organizations = (change.organizations | set(known.values())) - set(lost)
    for signature in loose:
        groups.root(signature)
    for signature, organization in known.items():
        if signature not in loose:
            groups.join(signature, organization)
    organizations |= _connect(connection, loose, groups)
    sets = groups.sets({*loose, *known, *organizations})
    names = _identify(connection, sets, organizations)
    _write_matches(connection, loose, organizations, names)
    touched = sorted({*organizations, *lost, *change.organizations, *names.values()})
    connection.execute(_ASSIGN, (change.jobs, touched, list(loose)))
    for statement in _DELETE:
        connection.execute(statement, (touched,))
    _write_rows(connection, sorted(set(names.values())))


def _connect(connection: Connection, loose: dict[str, Profile], groups: Groups) -> set[str]:
    """Join loose profiles to each other and to standing organizations, and give the latter."""
    if not loose:
        return set()
    standing = _candidates(connection, loose)
    by_key: dict[str, list[tuple[str, Profile]]] = {}
    for member, found in [*standing, *loose.items()]:
        for key in found.own_keys():
            by_key.setdefault(key, []).append((member, found))
    for signature, found in loose.items():
        for key in found.lookups():
            for other, candidate in by_key.get(key, ()):
                if groups.root(signature) != groups.root(other) and same(found, candidate):
                    groups.join(signature, other)
    roots = {groups.root(signature) for signature in loose}
    return {organization for organization, _ in standing if groups.root(organization) in roots}


def _candidates(connection: Connection, loose: dict[str, Profile]) -> list[tuple[str, Profile]]:
    """Profiles that share a key with one of the loose, each with its organization."""
    lookups = sorted({key for found in loose.values() for key in found.lookups()})
    return [
        (str(organization), msgspec.convert(found, Profile))
        for signature, organization, found in connection.execute(_CANDIDATES, (lookups,)).fetchall()
        if str(signature) not in loose
    ]


def _identify(connection: Connection, sets: Iterable[list[str]], organizations: set[str]) -> dict[str, str]:
    """The id of each member's organization: that of its oldest source."""
    sets = list(sets)
    signatures = [member for members in sets for member in members if member not in organizations]
    oldest = {
        str(member): (moment, str(job_id), int(ordinal), str(label))
        for member, moment, job_id, ordinal, label in connection.execute(
            _OLDEST, (sorted(organizations), signatures)
        ).fetchall()
    }
    names: dict[str, str] = {}
    for members in sets:
        found = [oldest[member] for member in members if member in oldest]
        if found:
            _, job_id, _, label = min(found)
            names |= dict.fromkeys(members, organization_id(job_id, label))
    return names


def _write_matches(
    connection: Connection, loose: dict[str, Profile], organizations: set[str], names: dict[str, str]
) -> None:
    moved = [(one, names[one]) for one in sorted(organizations) if names.get(one, one) != one]
    connection.execute(_RENAME, ([old for old, _ in moved], [new for _, new in moved]))
    made = [
        {"signature": signature, "organization_id": names[signature], "profile": found, "keys": found.own_keys()}
        for signature, found in loose.items()
    ]
    for start in range(0, len(made), _SLICE):
        connection.execute(_MATCH, (msgspec.json.encode(made[start : start + _SLICE]).decode(),))


def derived(connection: Connection, identities: list[str]) -> dict[str, Rows]:
    """The rows of organizations, made of their sources."""
    sources: dict[str, list[Source]] = {}
    for identity, body, job_id, scraper_id, moment in connection.execute(_NEWEST, (identities, NEWEST)).fetchall():
        record = _RECORD.decode(body)
        scraper = None if scraper_id is None else str(scraper_id)
        source = Source(record, str(job_id), scraper, format_time(moment))
        sources.setdefault(str(identity), []).append(source)
    return {identity: rows(identity, found) for identity, found in sources.items()}


def _write_rows(connection: Connection, identities: list[str]) -> None:
    for start in range(0, len(identities), _SLICE):
        made = derived(connection, identities[start : start + _SLICE]).values()
        for table in _TABLES:
            _insert(connection, table, [row for one in made for row in getattr(one, table)])


def _insert(connection: Connection, table: str, found: list[dict[str, object]]) -> None:
    statement = _INSERT[table]
    for start in range(0, len(found), 2000):
        connection.execute(statement, (msgspec.json.encode(found[start : start + 2000]).decode(),))
