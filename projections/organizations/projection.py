"""The projection `organizations`: what all results together say about each organization."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import msgspec

from playhead.projections.jobs.result import decode_job_result
from playhead.projections.organizations.answers import Answer, Reason, read_answer
from playhead.projections.organizations.extraction import organizations
from playhead.projections.organizations.matching import Profile, name_key, profile
from playhead.projections.organizations.reconciliation import Change, reconcile
from playhead.projections.organizations.values import text
from playhead.projections.postgres import Connection
from playhead.projections.table_sink import TableSink
from playhead.streams.errors import InvalidEvent
from playhead.streams.events import Recorded, format_time, parse_date_or_time
from playhead.streams.sinks import Batch, Outcome

_HERE = Path(__file__).parent
_STANDING = (_HERE / "standing.sql").read_bytes()
_RESULTS = (_HERE / "results.sql").read_bytes()
_REMOVE = (_HERE / "remove.sql").read_bytes()
_SOURCES = (_HERE / "sources.sql").read_bytes()
_LOCK = 0x4F524753  # "ORGS": partitions take turns, as results of any two may be about one organization
_SLICE = 1_000


class Reading(msgspec.Struct, frozen=True):
    """What an event's result came to: a row of `organization_results`, and the rows of `sources`."""

    job_id: str
    precedence: str
    result: dict[str, object]
    sources: list[dict[str, object]]
    profiles: dict[str, Profile]


class Organizations(TableSink):
    """A sink for `job.completed`; events of other types only move the checkpoint."""

    def apply(self, batch: Batch) -> Outcome:
        """Write sources, rows and checkpoint in one transaction.

        Raises:
            InvalidEvent: an event has no job_id that Postgres can store.
            psycopg.Error: `playhead.projections.failures` tells whether it passes.
        """
        readings: dict[str, Reading] = {}
        for recorded in batch.events:
            if recorded.event.type in self.types:
                reading = read(recorded)
                standing = readings.get(reading.job_id)
                if standing is None or standing.precedence < reading.precedence:
                    readings[reading.job_id] = reading
        return self._commit(batch, partial(_store, readings=readings))

    def examine(self, recorded: Recorded) -> None:
        """Raise what `apply` raises for the payload of an event."""
        if recorded.event.type in self.types:
            read(recorded)


def read(recorded: Recorded) -> Reading:
    """Find the organizations in an event's result.

    Raises:
        InvalidEvent: the payload has no job_id, or it or the event's id cannot be stored as text.
    """
    event = recorded.event
    payload = decode_job_result(event.data)
    for field, value in (("data.job_id", payload.job_id), ("id", event.id)):
        if "\0" in value or value.encode("utf-8", "replace").decode() != value:
            raise InvalidEvent(field, "holds NUL or a lone surrogate, which Postgres cannot store")
    answer = read_answer(bytes(payload.result))
    records = [] if answer.value is None else organizations(answer.value)
    moment = event.timestamp
    if payload.created_at is not None:
        with suppress(InvalidEvent):
            moment = parse_date_or_time(payload.created_at)
    common: dict[str, object] = {
        "job_id": payload.job_id,
        "scraper_id": text(payload.scraper_id),
        "recorded_at": format_time(moment),
        "event_id": event.id,
    }
    precedence = f"{int(bool(records))} {recorded.order}"
    result = common | {
        "outcome": "organizations" if records else answer.reason or _nothing(answer),
        "repaired": answer.repaired,
        "organizations": len(records),
        "precedence": precedence,
    }
    sources: list[dict[str, object]] = []
    profiles: dict[str, Profile] = {}
    named: dict[str, int] = {}
    for ordinal, record in enumerate(records):
        key = name_key(record.name)
        named[key] = named.get(key, 0) + 1
        looked_at = profile(record, text(payload.scraper_id))
        profiles[looked_at.signature] = looked_at
        sources.append(
            common
            | {
                "ordinal": ordinal,
                "source_url": text(payload.source_url),
                "label": f"{key}\n{named[key]}",
                "signature": looked_at.signature,
                "body": record,
            }
        )
    return Reading(payload.job_id, precedence, result, sources, profiles)


def _nothing(answer: Answer) -> Reason:
    """Data without an organization; if a repair made it data, it was prose."""
    return "text" if answer.repaired else "not about an organization"


def _store(connection: Connection, readings: dict[str, Reading]) -> None:
    """Put what is as new as what stands in its place, a replay's equal too: the rows may have been lost."""
    if not readings:
        return
    connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
    standing: dict[str, str] = dict(connection.execute(_STANDING, (list(readings),)).fetchall())
    newer = [one for one in readings.values() if one.precedence >= standing.get(one.job_id, "")]
    if not newer:
        return
    removed = connection.execute(_REMOVE, ([one.job_id for one in newer],)).fetchall()
    _insert(connection, _RESULTS, [one.result for one in newer])
    _insert(connection, _SOURCES, [source for one in newer for source in one.sources])
    profiles = {signature: found for one in newer for signature, found in one.profiles.items()}
    reconcile(
        connection,
        Change(
            jobs=[one.job_id for one in newer],
            profiles=profiles,
            organizations={str(organization) for organization, _ in removed if organization is not None},
            left={str(signature) for _, signature in removed} - profiles.keys(),
        ),
    )


def _insert(connection: Connection, statement: bytes, rows: Sequence[dict[str, object]]) -> None:
    for part in _slices(rows):
        connection.execute(statement, (msgspec.json.encode(part).decode(),))


def _slices(rows: Sequence[dict[str, object]]) -> Iterator[Iterable[dict[str, object]]]:
    for start in range(0, len(rows), _SLICE):
        yield rows[start : start + _SLICE]
