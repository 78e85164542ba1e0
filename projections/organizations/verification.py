"""The tables of organizations against the log."""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

import msgspec
from psycopg.sql import SQL, Identifier

from playhead.projections.jobs.result import decode_job_result
from playhead.projections.organizations.matching import Groups, Profile, same
from playhead.projections.organizations.projection import Reading, read
from playhead.projections.organizations.reconciliation import derived
from playhead.projections.organizations.rows import Rows, organization_id
from playhead.projections.postgres import Connection, Database
from playhead.projections.representable import ask_representable
from playhead.projections.verification import Held, Lack, Stray
from playhead.streams.domains.place import Place
from playhead.streams.errors import InvalidEvent
from playhead.streams.events import Recorded

_HERE = Path(__file__).parent
(
    _STANDING, _UNMATCHED, _ORGANIZATIONS_OF, _RESULTS_DIFFER, _SOURCES_DIFFER, _MEMBERS, _CANDIDATES, _OLDEST, _STRAYS,
    _HELD,
) = (
    (_HERE / f"{name}.sql").read_bytes()
    for name in (
        "standing", "unmatched", "organizations_of", "results_differ", "sources_differ", "members", "candidates",
        "oldest", "strays", "held",
    )
)  # fmt: skip
_DIFFER = {
    table: SQL(
        "WITH expected AS (SELECT * FROM jsonb_populate_recordset(NULL::{0}, %(rows)s::jsonb)),"
        " standing AS (SELECT * FROM {0} WHERE {1} = ANY(%(ids)s::uuid[]))"
        " (SELECT {1}::text FROM (TABLE expected EXCEPT TABLE standing) AS one)"
        " UNION (SELECT {1}::text FROM (TABLE standing EXCEPT TABLE expected) AS other)"
    ).format(Identifier(table), Identifier("id" if table == "organizations" else "organization_id"))
    for table in Rows.__struct_fields__
}
_PLACE, _RESULTS = "organizations", "organization_results"
_OTHER = "another organization"


class OrganizationsVerification:
    """Compares what each result came to, its sources, and every row of the organizations that they are in.

    Each organization is derived again from its sources, and must be exactly what the rule joins.
    """

    compares = "every row and column that results give; what is of no event"
    unlogged = "append the event again, or restore the log from a backup"

    def __init__(self, place: Place) -> None:
        self._types = place.types
        self._database = Database(place.database_url, "playhead-verify", place.schema)
        self._blamed: dict[str, tuple[str, str | None]] = {}
        """By organization: the job that it was first seen with, and what is wrong with it."""

    def key(self, recorded: Recorded) -> str | None:
        """The job's id."""
        if recorded.event.type not in self._types:
            return None
        try:
            return decode_job_result(recorded.event.data).job_id
        except InvalidEvent:
            return None

    def rank(self, recorded: Recorded) -> str:
        """A result with organizations stands before one without, then the newer one."""
        try:
            return read(recorded).precedence
        except InvalidEvent:
            return ""

    def mark(self, recorded: Recorded) -> str:
        """The same: a result keeps it."""
        return self.rank(recorded)

    def lacks(self, events: Sequence[Recorded]) -> Iterator[Lack]:
        """Results that do not stand, or not with the rows that they give."""
        for readings, (standing, problems) in ask_representable(list(self._readings(events)), self._ask):
            for recorded, reading in readings:
                found = standing.get(reading.job_id)
                lack = partial(Lack, key=reading.job_id, recorded=recorded, place=_RESULTS, standing=found)
                if found is None:
                    yield lack("missing", problem="the row is not there")
                elif found < reading.precedence:
                    yield lack("stale", problem="the row shows an older event")
                elif found > reading.precedence:
                    yield lack("other", problem="the row shows another event")
                elif reading.job_id in problems:
                    yield lack("altered", place=_PLACE, problem=problems[reading.job_id])

    def _ask(self, readings: Sequence[tuple[Recorded, Reading]]) -> tuple[dict[str, str], dict[str, str]]:
        """The precedence of each row, and what is wrong with the rows of results that stand, by job."""
        with self._database.transaction() as connection:
            # One picture of all tables, while their consumer goes on.
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            jobs = [reading.job_id for _, reading in readings]
            standing: dict[str, str] = dict(connection.execute(_STANDING, (jobs,)).fetchall())
            current = {
                reading.job_id: reading for _, reading in readings if standing.get(reading.job_id) == reading.precedence
            }
            return standing, self._problems(connection, current)

    def held(self) -> Iterator[Held | Stray]:
        """Every result, and organizations with rows, such as some that were inserted by hand, in no result."""
        with self._database.transaction() as connection:
            with connection.cursor("playhead_held") as results:
                for job_id, precedence in results.execute(_HELD):
                    yield Held(job_id, precedence, _RESULTS)
            with connection.cursor("playhead_strays") as strays:
                for identity, places in strays.execute(_STRAYS):
                    yield Stray(identity, places, "no result speaks of this organization; delete its rows")

    def discard(self, lack: Lack) -> bool:  # noqa: ARG002  # as in the protocol
        """Nothing: a replay writes its rows anew, unless newer ones stand there."""
        return True

    def close(self) -> None:
        """Close the connection."""
        self._database.close()

    def _problems(self, connection: Connection, current: dict[str, Reading]) -> dict[str, str]:
        """What is wrong with the rows of results that stand, by job."""
        jobs = list(current)
        results = msgspec.json.encode([reading.result for reading in current.values()]).decode()
        sources = msgspec.json.encode([source for reading in current.values() for source in reading.sources]).decode()
        problems: dict[str, str] = {}
        for (job_id, organization), problem in self._organizations(connection, jobs).items():
            problems[job_id] = f"organization {organization}: {problem}"
        for (job_id,) in connection.execute(_UNMATCHED, (jobs,)).fetchall():
            problems[job_id] = "a source stands in another organization than its match"
        for (job_id,) in connection.execute(_SOURCES_DIFFER, {"sources": sources, "jobs": jobs}).fetchall():
            problems[job_id] = "the sources are not what the result says"
        for (job_id,) in connection.execute(_RESULTS_DIFFER, {"results": results, "jobs": jobs}).fetchall():
            problems[job_id] = "the row says something else than the event"
        return problems

    def _organizations(self, connection: Connection, jobs: list[str]) -> dict[tuple[str, str], str]:
        """What is wrong with organizations, each told once: of the job that it was first seen with."""
        found = [
            (str(identity), str(job_id))
            for identity, job_id in connection.execute(_ORGANIZATIONS_OF, (jobs,)).fetchall()
            if identity is not None
        ]
        fresh = {
            identity: job_id
            for identity, job_id in reversed(found)
            for blamed, problem in [self._blamed.get(identity, (job_id, ""))]
            if blamed == job_id and problem is not None  # what was wrong is looked at again
        }
        wrong = _wrong(connection, sorted(fresh))
        self._blamed |= {identity: (job_id, wrong.get(identity)) for identity, job_id in fresh.items()}
        return {
            (job_id, identity): problem
            for identity, job_id in found
            for blamed, problem in [self._blamed[identity]]
            if problem is not None and blamed == job_id
        }

    def _readings(self, events: Sequence[Recorded]) -> Iterator[tuple[Recorded, Reading]]:
        for recorded in events:
            if recorded.event.type in self._types:
                try:
                    yield recorded, read(recorded)
                except InvalidEvent:  # parked, and shown there
                    continue


def _wrong(connection: Connection, identities: list[str]) -> dict[str, str]:
    """What is wrong with these organizations."""
    wrong = dict.fromkeys(_misjoined(connection, identities), "it is not joined as the rule says")
    expected = derived(connection, identities)
    for table, statement in _DIFFER.items():
        made = [row for rows in expected.values() for row in getattr(rows, table)]
        parameters = {"rows": msgspec.json.encode(made).decode(), "ids": identities}
        for (identity,) in connection.execute(statement, parameters).fetchall():
            wrong[str(identity)] = f"rows in {table} are not what its sources give"
    return wrong


def _misjoined(connection: Connection, identities: Iterable[str]) -> Iterator[str]:
    """Organizations that are more than one, or one with others, or named after another source than their oldest."""
    for identity in identities:
        members = {
            str(signature): msgspec.convert(found, Profile)
            for signature, found in connection.execute(_MEMBERS, ([identity],)).fetchall()
        }
        lookups = sorted({key for found in members.values() for key in found.lookups()})
        groups = Groups()
        for other, organization, body in connection.execute(_CANDIDATES, (lookups,)).fetchall():
            candidate = msgspec.convert(body, Profile)
            for signature, found in members.items():
                if same(found, candidate):
                    groups.join(signature, str(other) if str(organization) == identity else _OTHER)
        roots = {groups.root(signature) for signature in members}
        oldest = connection.execute(_OLDEST, ([identity], [])).fetchone()
        named = oldest is not None and organization_id(str(oldest[2]), str(oldest[4])) == identity
        if len(roots) != 1 or groups.root(_OTHER) in roots or not named:
            yield identity
