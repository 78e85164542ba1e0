"""The reconciler against what reading results costs, and against writing its rows."""

import msgspec
from psycopg.sql import SQL, Identifier

from benchmarks.contest import Section, Turn, hold, timed
from benchmarks.samples import in_batches
from benchmarks.stack import Stack
from playhead.projections.organizations.projection import Organizations, read
from playhead.projections.organizations.records import Record
from playhead.projections.organizations.rows import Source, rows
from playhead.projections.postgres import Connection, connect
from playhead.streams.domains.discovery import installed
from playhead.streams.domains.place import Place
from playhead.streams.events import Event, Recorded, new_event
from playhead.streams.names import SCHEMA
from playhead.streams.partitions import Partition
from playhead.streams.positions import Position
from playhead.streams.sinks import Batch
from playhead.streams.sinks import Source as Read

_ROUNDS = 3
_BATCH = 500
_PARTITION = Partition("jobs", 0)
_TABLES = (
    "organizations", "locations", "services", "phones", "schedules", "sources", "organization_matches",
    "organization_results",
)  # fmt: skip
_KNOWN = 4
"""One result of so many is about an organization that another one told of before, as in a directory scraped daily."""


def organizations(stack: Stack, quick: bool) -> Section:
    """Results reconciled, each part of the work alone, and the limit: COPY of the same rows."""
    count = 200 if quick else 3_000
    events = [_result(number) for number in range(count)]
    recorded = [Recorded(event, Position(number + 1, 0)) for number, event in enumerate(events)]
    section = Section(
        "Projection `organizations`",
        f"{count:,} results with one organization each, a quarter of them known already, {_BATCH} a transaction, "
        "without Redis. Reading is JSON, extraction and the keys of matching; deriving is making the rows of an "
        "organization from its sources; the limit is COPY of all rows as they came out, into tables with the same "
        "indexes. What is left is matching, and Postgres.",
    )
    with connect(stack.database_url, schema=SCHEMA) as connection:

        def ours() -> Turn:
            _empty(connection)
            sink = Organizations(Place("organizations", catalogue=installed(), database_url=stack.database_url))
            sink.open(_PARTITION, 1)
            with timed(count, server=stack.postgres_pid) as turn:
                for batch in in_batches(recorded, _BATCH):
                    sink.apply(Batch(Read(_PARTITION, "benchmark"), batch, batch[-1].position))
            sink.close()
            return turn

        def theirs() -> Turn:
            if connection.execute("SELECT EXISTS (SELECT FROM organization_results)").fetchone() != (True,):
                ours()
            return _copy(connection, count, stack.postgres_pid)

        found = hold(
            "1 KB",
            1 if quick else _ROUNDS,
            {
                "organizations": ours,
                "reading alone": lambda: _read(recorded),
                "deriving alone": lambda: _derive(recorded),
                "COPY of the rows": theirs,
            },
        )
        _empty(connection)
    section.rates += found.rates()
    section.results.append(found.ratio("organizations / COPY of the same rows", "organizations", "COPY of the rows"))
    section.results.append(found.ratio("organizations / reading alone", "organizations", "reading alone"))
    return section


def _read(recorded: list[Recorded]) -> Turn:
    with timed(len(recorded)) as turn:
        for one in recorded:
            read(one)
    return turn


def _derive(recorded: list[Recorded]) -> Turn:
    sources: list[Source] = []
    for reading in map(read, recorded):
        for source in reading.sources:
            body = source["body"]
            assert isinstance(body, Record)
            sources.append(Source(body, reading.job_id, "s", "2025-08-09T06:36:58Z"))
    with timed(len(recorded)) as turn:
        for source in sources:
            rows("00000000-0000-5000-8000-000000000000", [source])
    return turn


def _result(number: int) -> Event:
    who = number if number % _KNOWN else number // _KNOWN
    hours = [{"byday": day, "opens_at": "10:00", "closes_at": "14:00"} for day in ("MO", "TU", "FR")[: 1 + who % 3]]
    result = {
        "organization": {
            "name": f"Pantry of Saint Number {who}",
            "description": "Groceries for everybody who lives near, once a week; bring a bag. " * 4,
            "phones": [{"number": f"330-{who // 10_000 + 200}-{who % 10_000:04}"}],
            "locations": [
                {
                    "address_1": f"{who % 900 + 1} Elm Street",
                    "city": f"Town {who // 900}",
                    "state_province": "OH",
                    "postal_code": f"{44000 + who // 900}",
                    "latitude": 41 + who % 997 / 1000,
                    "longitude": -81 - who % 89 / 100,
                }
            ],
            "services": [{"name": "Food Pantry", "schedules": hours}],
        }
    }
    payload = {
        "job_id": f"{1754541721 + number}.5",
        "job": {"metadata": {"scraper_id": "s"}, "created_at": "2025-08-09T06:36:58Z"},
        "result": msgspec.json.encode(result).decode(),
    }
    subject = f"job/{payload['job_id']}"
    return new_event("job.completed", subject=subject, data=msgspec.json.encode(payload), source="benchmark")


def _empty(connection: Connection) -> None:
    connection.execute(SQL("TRUNCATE {}").format(SQL(", ").join(map(Identifier, _TABLES))))


def _copy(connection: Connection, count: int, server: int) -> Turn:
    """Write the rows that stand into tables of the same form; only the writing is timed."""
    dumps: dict[str, bytes] = {}
    for table in _TABLES:
        with connection.cursor() as cursor, cursor.copy(SQL("COPY {} TO STDOUT").format(Identifier(table))) as copy:
            dumps[table] = b"".join(map(bytes, copy))
        connection.execute(SQL("CREATE TABLE {} (LIKE {} INCLUDING ALL)").format(_twin(table), Identifier(table)))
    try:
        with timed(count, server=server) as turn, connection.transaction():
            for table, rows_ in dumps.items():
                with connection.cursor() as cursor, cursor.copy(SQL("COPY {} FROM STDIN").format(_twin(table))) as copy:
                    copy.write(rows_)
        return turn
    finally:
        for table in _TABLES:
            connection.execute(SQL("DROP TABLE {}").format(_twin(table)))


def _twin(table: str) -> Identifier:
    return Identifier(f"benchmark_{table}")
