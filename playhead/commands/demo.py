"""`playhead demo`: the whole product on embedded servers, in a fresh directory."""

import hashlib
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import msgspec
import psycopg
from redis import Redis

from playhead.commands.status import read_status
from playhead.embedded.servers import embedded_servers
from playhead.embedded.supervisor import Supervisor
from playhead.eventlog.reader import read_ordered
from playhead.eventlog.replay.replay import Replay, new_run
from playhead.projections.migrations import upgrade
from playhead.recordings.demo import promoted, record_and_crash
from playhead.registry import CONSUMERS, PROJECTIONS, STREAMS, WORKERS, lacking
from playhead.settings.settings import Servers, Settings, load
from playhead.streams.appending.producer import Producer
from playhead.streams.errors import PlayheadError
from playhead.streams.redis.connections import connect
from playhead.terminal import diagnostics

_POLL_SECONDS = 0.05
_DEADLINE_SECONDS = 60.0
_MESSAGES = "consumers.log"


class DemoFailed(PlayheadError):
    """The demo did not end as it should."""

    def __init__(self, problem: str, directory: Path) -> None:
        super().__init__(f"{problem}; see {directory / _MESSAGES}")


def demo() -> int:
    """Show the whole product on embedded servers, in a fresh directory.

    Example:
        playhead demo
    """
    diagnostics.configure()
    return run_demo()


def run_demo() -> int:
    """Append sample jobs, show what each sink holds, lose the sinks, have them back from the log; record a meeting."""
    directory = Path(tempfile.mkdtemp(prefix="playhead-demo-"))
    settings = msgspec.structs.replace(  # whatever is set: the demo deletes what lies there
        load(directory),
        output_dir=str(directory / "outputs"),
        event_log_dir=directory / "eventlog",
        archive_dir=str(directory / "archives"),
        blob_dir=str(directory / "blobs"),
        recordings_dir=directory / "recordings",
    )
    missing = lacking(settings)
    with embedded_servers(directory) as running, (directory / _MESSAGES).open("wb") as messages:
        servers = Servers(running.redis_url, running.database_url)
        upgrade(servers.database_url)
        client = connect(servers.redis_url)
        assert isinstance(client, Redis), "the embedded server is no cluster"
        workers = [name for name in WORKERS if name not in missing]
        supervisor = Supervisor(settings, servers, [*CONSUMERS, *workers], messages=messages)
        supervisor.start()
        try:
            _play(client, settings, servers)
            if missing:
                _say(f"6. No meeting is recorded: {next(iter(missing.values()))}")
            else:
                _meet(settings, servers, messages)
        finally:
            supervisor.stop()
    at = f"--data-dir {directory}"
    command = "playhead" if shutil.which("playhead") else sys.argv[0]
    _say(
        "\nLook next:\n"
        f"  ls -R {directory}/outputs\n"
        f"  {command} log cat {at}\n"
        f"  {command} up {at}    # then, in another terminal:\n"
        f"  {command} status {at}\n"
        f'  eval "$({command} env {at})" && psql "$DATABASE_URL" -c "TABLE jobs"\n'
        f"Everything is in {directory}; delete it when you are done."
    )
    return 0


def _play(client: Redis, settings: Settings, servers: Servers) -> None:
    _say(f"1. Valkey, Postgres and a process for each consumer run in {settings.data_dir}")
    with Producer(client, partitions=settings.partitions) as producer:
        for number, (type_, subject, payload) in enumerate(_sample()):
            producer.append(type_, subject=subject, data=payload, id=f"demo-{number}")
        _say("2. A program appended what became of its jobs; each outcome is an event, and is on disk")
        _wait_until_caught_up(client, settings)
        before = _show(Path(settings.output_dir), settings.event_log_dir, servers.database_url)
        _say("\n3. Now the worst: every JSON file deleted, the table emptied")
        shutil.rmtree(settings.output_dir)
        with psycopg.connect(servers.database_url) as connection:
            connection.execute("TRUNCATE jobs")
        for step in ("4. The log is replayed, no job runs again", "5. Replayed once more: twice is the same as once"):
            replay = Replay(client, new_run(), {"jobs": [name for name in PROJECTIONS if "jobs" in STREAMS[name]]})
            count = replay.send(read_ordered(settings.event_log_dir))
            replay.finish()
            _wait_until_caught_up(client, settings)
            if _fingerprint(Path(settings.output_dir), servers.database_url) != before:
                raise DemoFailed("the replay did not bring back what was there", settings.data_dir)
            _say(f"{step}: {count} events, and every file and row is as it was ({before[:12]})")


def _meet(settings: Settings, servers: Servers, messages: IO[bytes]) -> None:
    def wait_until(condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _DEADLINE_SECONDS
        while not condition():
            if time.monotonic() > deadline:
                raise DemoFailed("the meeting was not recorded within a minute", settings.data_dir)
            time.sleep(_POLL_SECONDS)

    chunks = record_and_crash(settings, servers, messages, wait_until)
    _say(
        f"6. Two voices met; their recorder was killed (kill -9) with {chunks} chunks on disk, and another went on.\n"
        "   Each chunk was transcoded, and the meeting promoted to a recording of each and one of both:"
    )
    wait_until(lambda: bool(promoted(servers.database_url)))
    for one in promoted(servers.database_url):
        _say(f"  {settings.recordings_dir / one.filename}  {one.duration_in_ms / 1000:.1f} seconds")


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
    _say(f"\nThe event log has them for ever ({event_log}):")
    for event in events:
        _say(f"  {event.time[:19]}Z  {event.type:<14} {event.subject}")
    _say(f"JSON files, one a job and a summary of the day ({outputs}):")
    for path in files:
        _say(f"  {path.relative_to(outputs)}")
    with psycopg.connect(database_url) as connection:
        rows = connection.execute(
            "SELECT job_id, status, scraper_id, model, total_tokens FROM jobs ORDER BY job_id"
        ).fetchall()
    _say("Table jobs in Postgres (job, status, scraper, model, tokens):")
    for row in rows:
        _say("  " + "  ".join("-" if value is None else str(value) for value in row))
    return _fingerprint(outputs, database_url)


def _fingerprint(outputs: Path, database_url: str) -> str:
    digest = hashlib.sha256()
    for path in sorted(outputs.glob("daily/**/*.json")):
        digest.update(str(path.relative_to(outputs)).encode() + b"\0" + path.read_bytes())
    with psycopg.connect(database_url) as connection:
        for (row,) in connection.execute("SELECT jobs::text FROM jobs ORDER BY job_id"):
            digest.update(row.encode())
    return digest.hexdigest()


def _wait_until_caught_up(client: Redis, settings: Settings) -> None:
    deadline = time.monotonic() + _DEADLINE_SECONDS
    while not read_status(client, settings.partitions).caught_up:
        if time.monotonic() > deadline:
            raise DemoFailed("the consumers did not catch up within a minute", settings.data_dir)
        time.sleep(_POLL_SECONDS)


def _say(text: str) -> None:
    print(text)
    sys.stdout.flush()
