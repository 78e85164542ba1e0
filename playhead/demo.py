"""`playhead demo`: the whole product on embedded servers, in a fresh directory."""

import hashlib
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
from redis import Redis

from eventlog.reader import read_ordered
from eventlog.replay import Replay, new_run
from playhead.embedded.servers import embedded_servers
from playhead.registry import PROJECTIONS
from playhead.settings import Servers, load
from playhead.status import read_status
from playhead.supervisor import Supervisor
from projections.migrations import upgrade
from streams.connections import connect
from streams.errors import PlayheadError
from streams.producer import Producer

_POLL_SECONDS = 0.05
_DEADLINE_SECONDS = 60.0


class DemoFailed(PlayheadError):
    """The demo did not end as it should: see the messages above."""


def run_demo() -> int:
    """Append sample jobs, show what each sink holds, replay the log and prove that nothing changes."""
    directory = Path(tempfile.mkdtemp(prefix="playhead-demo-"))
    settings = load(directory)
    with embedded_servers(directory) as running:
        servers = Servers(str(running.redis_url), str(running.database_url))
        upgrade(servers.database_url)
        client = connect(servers.redis_url)
        if not isinstance(client, Redis):
            raise DemoFailed
        supervisor = Supervisor(settings, servers, quiet=True)
        supervisor.start()
        try:
            _say(f"Started Valkey, Postgres and one process a consumer in {directory}")
            with Producer(servers.redis_url) as producer:
                for number, (type_, subject, payload) in enumerate(_sample()):
                    producer.append(type_, subject=subject, data=payload, id=f"demo-{number}")
            _wait_until_caught_up(client)
            before = _show(settings.output_dir, settings.event_log_dir, servers.database_url)
            _say("\nReplaying the log into the projections ...")
            replay = Replay(client, new_run(), {"jobs": PROJECTIONS})
            count = replay.send(read_ordered(settings.event_log_dir))
            replay.finish()
            _wait_until_caught_up(client)
            after = _fingerprint(settings.output_dir, servers.database_url)
            if after != before:
                raise DemoFailed
            _say(f"{count} events replayed; every file and row is as it was before: {after[:16]}")
        finally:
            supervisor.stop()
    _say(f"\nLook next:\n  find {directory}/outputs -type f\n  playhead up --data-dir {directory}")
    return 0


def _sample() -> Iterator[tuple[str, str, object]]:
    pantries = ("Riverside Food Pantry", "St. Mark's Table", "Harbor Street Kitchen", "Eastside Community Fridge")
    for number, name in enumerate(pantries):
        job_id = f"17547215{number:02d}.120277"
        job = {
            "id": job_id,
            "prompt": "Describe this place as JSON.",
            "format": {"type": "object"},
            "provider_config": {"model": "sample-model", "temperature": 0.2},
            "metadata": {"scraper_id": "sample_pantries" if number % 2 else "city_list"},
            "created_at": f"2025-08-09 06:3{number}:58.200226",
        }
        result = {"organizations": [{"name": name}], "model": "sample-model", "usage": {"total_tokens": 200 + number}}
        yield (
            "job.completed",
            f"job/{job_id}",
            {
                "job_id": job_id,
                "job": job,
                "status": "completed",
                "result": result,
                "error": None,
                "retry_count": 0,
                "completed_at": f"2025-08-09T06:3{number}:59.500000Z",
                "processing_time": 1.3,
            },
        )
    yield (
        "job.failed",
        "job/failed-1",
        {
            "job_id": "failed-1",
            "job": {"id": "failed-1", "metadata": {}, "created_at": "2025-08-09 07:00:00"},
            "status": "failed",
            "result": None,
            "error": "the model did not answer",
            "retry_count": 3,
        },
    )


def _show(outputs: Path, event_log: Path, database_url: str) -> str:
    files = sorted(path for path in outputs.glob("daily/**/*.json"))
    events = [recorded.event for _, recorded in read_ordered(event_log)]
    _say(f"\nEvent log:   {len(events)} events in {event_log}")
    for event in events:
        _say(f"  {event.time}  {event.type:<14} {event.subject}")
    _say(f"JSON files:  {len(files)}")
    for path in files:
        _say(f"  {path.relative_to(outputs)}")
    with psycopg.connect(database_url) as connection:
        rows = connection.execute("SELECT job_id, scraper_id, status, model FROM jobs ORDER BY job_id").fetchall()
    _say(f"Table jobs:  {len(rows)} rows")
    for row in rows:
        _say("  " + "  ".join(str(value) for value in row))
    return _fingerprint(outputs, database_url)


def _fingerprint(outputs: Path, database_url: str) -> str:
    digest = hashlib.sha256()
    for path in sorted(outputs.glob("daily/**/*.json")):
        digest.update(str(path.relative_to(outputs)).encode() + b"\0" + path.read_bytes())
    with psycopg.connect(database_url) as connection:
        for (row,) in connection.execute("SELECT jobs::text FROM jobs ORDER BY job_id"):
            digest.update(row.encode())
    return digest.hexdigest()


def _wait_until_caught_up(client: Redis) -> None:
    deadline = time.monotonic() + _DEADLINE_SECONDS
    while not read_status(client, 1).caught_up:
        if time.monotonic() > deadline:
            raise DemoFailed("the consumers did not catch up within a minute")
        time.sleep(_POLL_SECONDS)


def _say(text: str) -> None:
    print(text)
    sys.stdout.flush()
