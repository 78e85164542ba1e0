"""The sinks that faults are caused in: the events that each is fed with, and what it shows of their effects."""

import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import psycopg

from playhead.projections.content.archive import read_archive
from playhead.streams.content.events import CAPTURED
from playhead.streams.events import Event
from playhead.streams.recordings.files import Chunk, RecordingFiles
from tests.support.events import job

TIME = "2025-08-09T06:36:59Z"


def organization(number: int, subject: str) -> Event:
    return job(number, f"job/{subject}", result=json.dumps([{"name": f"Shelter {subject}", "description": "beds"}]))


def chunk(number: int, subject: str) -> Event:
    payload = {
        "meeting_id": subject,
        "temp_recording_id": f"e{number}",
        "user_id": "u",
        "guild_id": "g",
        "sequence": number,
        "pcm_path": RecordingFiles.pcm(Chunk(subject, "u", number)),
        "rate": 48_000,
        "channels": 2,
        "started_at": TIME,
    }
    return _event("chunk.flushed", f"meeting/{subject}", number, payload)


def capture(number: int, subject: str) -> Event:
    payload = {
        "content": f"content {number} " * 40,
        "source_url": None,
        "scraper_id": "s",
        "metadata": {"subject": subject},
        "captured_at": TIME,
    }
    return _event(CAPTURED, f"content/{subject}", number, payload)


def payment(number: int, subject: str) -> Event:
    """Of an invoice that has the subject as its number; half of them are of an older version."""
    data: dict[str, object] = {"number": subject, "paid_on": f"2026-01-{number % 3 + 1:02}"}
    version = number % 2 + 1
    data |= {"euros": number} if version == 1 else {"amount": number * 100, "currency": "EUR"}
    event = _event("invoice.paid", f"invoice/{subject}", number, data)
    return msgspec.structs.replace(event, dataschema=f"invoice.paid/{version}")


class Kind(msgspec.Struct, frozen=True):
    """A sink's stream, a maker of events from a number and a subject, and the table whose writes are its effects."""

    stream: str
    make: Callable[[int, str], Event]
    table: str | None = None
    effect: tuple[str, str] = ("", "")
    """The columns of that table with the subject and the event's id."""
    every: bool = False
    """Whether every event has a row of its own, or the last one of a subject has the subject's."""


def _job(number: int, subject: str) -> Event:
    return job(number, f"job/{subject}")


KINDS = {
    "log": Kind("jobs", _job),
    "json-files": Kind("jobs", _job),
    "jobs": Kind("jobs", _job, "jobs", ("job_id", "event_id")),
    "ledger": Kind("jobs", _job),
    "archives": Kind("content", capture),
    "organizations": Kind("jobs", organization, "organization_results", ("job_id", "event_id")),
    "recordings": Kind("recordings", chunk, "temp_recordings", ("meeting_id", "id"), every=True),
}

STRANGERS = {
    "revenue": Kind("invoices", payment, "invoices_paid", ("number", "event_id")),
    "daily-payments": Kind("invoices", payment),
    "receipt": Kind("invoices", payment),
}
"""Those of `examples/invoices`, which are there where that domain is."""


def kind_of(sink: str) -> Kind:
    return (KINDS | STRANGERS)[sink]


_NOTING = """
CREATE FUNCTION note_{table}() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN INSERT INTO effects (kind, subject, event_id) VALUES ('{table}', NEW.{subject}, NEW.{event_id}); RETURN NULL;
END $$;
CREATE TRIGGER effects AFTER INSERT OR UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION note_{table}();
"""


def note_effects(database: str) -> None:
    """Have the database note every write to the tables of the projections; a naive sink's are of no kind."""
    with psycopg.connect(database) as connection:
        connection.execute("CREATE TABLE effects (number bigserial, kind text, subject text, event_id text)")
        there = {name for (name,) in connection.execute("SELECT tablename FROM pg_tables")}
        for kind in (*KINDS.values(), *STRANGERS.values()):
            if kind.table in there:
                subject, event_id = kind.effect
                connection.execute(_NOTING.format(table=kind.table, subject=subject, event_id=event_id))


def effects_in(database: str) -> list[tuple[str, str]]:
    """Subject and event id of each effect, in order."""
    with psycopg.connect(database) as connection:
        return connection.execute("SELECT subject, event_id FROM effects ORDER BY number").fetchall()


def count_effects(database: str) -> int:
    """How many effects are committed."""
    with psycopg.connect(database) as connection:
        return connection.execute("SELECT count(*) FROM effects").fetchone()[0]


def rows_in(database: str, kind: Kind) -> list[tuple[str, str]]:
    """Subject and event id of each row that stands."""
    subject, event_id = kind.effect
    with psycopg.connect(database) as connection:
        return connection.execute(f"SELECT {subject}, {event_id} FROM {kind.table}").fetchall()


def archived(directory: Path) -> list[str]:
    """The event of each archive, in the order of their numbers."""
    found: list[str] = []
    for path in directory.glob("*.tar.gz"):
        archive = read_archive(path.read_bytes())
        assert archive.content == f"content {archive.metadata['event_id'][1:]} ".encode() * 40
        found.append(archive.metadata["event_id"])
    return sorted(found, key=lambda event_id: int(event_id[1:]))


def paid_in(directory: Path) -> list[tuple[str, str]]:
    """Invoice and event of each line, in the order of the events."""
    lines = [line for path in directory.glob("*.csv") for line in path.read_text().splitlines()[1:]]
    return [(number, event_id) for _, number, _, _, event_id in sorted(line.split(",") for line in lines)]


def subject_of(event: Event) -> str:
    return event.subject.partition("/")[2]


def _event(type_: str, subject: str, number: int, payload: object) -> Event:
    data = json.dumps(payload).encode()
    return Event(id=f"e{number}", source="test", type=type_, time=TIME, subject=subject, data=data)
