"""The step of `playhead demo` that loses every file and row of jobs, and has them back from the log."""

import hashlib
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

from playhead.demo import Demo, DemoFailed
from playhead.eventlog.reader import read_ordered
from playhead.eventlog.replay.replay import Replay, new_run
from playhead.jobs.domain import OUTPUT_DIR, jobs
from playhead.projections.postgres import Connection, connect
from playhead.settings.producers import make_producer
from playhead.streams.domains.discovery import installed


def lose_and_replay(demo: Demo) -> None:
    """Append sample jobs, show what each sink holds, lose the sinks, have them back from the log.

    Raises:
        DemoFailed: the replay did not bring back what was there.
    """
    settings = demo.settings
    outputs = Path(settings[OUTPUT_DIR])
    with make_producer(demo.client, settings) as producer:
        for number, (type_, subject, payload) in enumerate(_sample()):
            producer.append(type_, subject=subject, data=payload, id=f"demo-{number}")
    demo.step("A program appended what became of its jobs; each outcome is an event, and is on disk")
    demo.wait_until_caught_up()
    before = _show(demo, outputs)
    demo.say("")
    demo.step("Now the worst: every JSON file deleted, the table emptied")
    shutil.rmtree(outputs)
    with _database(demo) as connection:
        connection.execute("TRUNCATE jobs")
    catalogue = installed()
    (stream,) = jobs.streams
    readers = [name for name in catalogue.readers_of(stream) if name in catalogue.projections]
    for step in ("The log is replayed, no job runs again", "Replayed once more: idempotent"):
        replay = Replay(demo.client, new_run(), {stream: readers})
        count = replay.send(read_ordered(settings.event_log_dir))
        replay.finish()
        demo.wait_until_caught_up()
        if _fingerprint(demo, outputs) != before:
            raise DemoFailed("the replay did not bring back what was there", settings.data_dir)
        demo.step(f"{step}: {count} events, and every file and row is as it was ({before[:12]})")
    demo.look_next(
        f'eval "$({demo.command("env")})" && psql "$DATABASE_URL" -c "TABLE jobs"',
        f"ls -R {shlex.quote(str(outputs))}",
    )


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


def _show(demo: Demo, outputs: Path) -> str:
    event_log = demo.settings.event_log_dir
    files = sorted(path for path in outputs.glob("daily/**/*.json"))
    events = [recorded.event for _, recorded in read_ordered(event_log)]
    demo.say(f"\nThe event log has them forever ({event_log}):")
    for event in events:
        demo.say(f"  {event.time[:19]}Z  {event.type:<14} {event.subject}")
    demo.say(f"JSON files, one a job and a summary of the day ({outputs}):")
    for path in files:
        demo.say(f"  {path.relative_to(outputs)}")
    with _database(demo) as connection:
        rows = connection.execute(
            "SELECT job_id, status, scraper_id, model, total_tokens FROM jobs ORDER BY job_id"
        ).fetchall()
    demo.say("Table jobs in Postgres (job, status, scraper, model, tokens):")
    for row in rows:
        demo.say("  " + "  ".join("-" if value is None else str(value) for value in row))
    return _fingerprint(demo, outputs)


def _fingerprint(demo: Demo, outputs: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(outputs.glob("daily/**/*.json")):
        digest.update(str(path.relative_to(outputs)).encode() + b"\0" + path.read_bytes())
    with _database(demo) as connection:
        for (row,) in connection.execute("SELECT jobs::text FROM jobs ORDER BY job_id"):
            digest.update(row.encode())
    return digest.hexdigest()


def _database(demo: Demo) -> Connection:
    return connect(demo.servers.database_url, "playhead-demo", schema=demo.servers.schema)
