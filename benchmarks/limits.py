"""The limits: what a process reaches that does one thing only. Each prints its turn as JSON."""

import gc
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import msgspec

from benchmarks.contest import Turn, timed

_COUNT = 500


def read_and_acknowledge(url: str, key: str, after: str, count: str, server: str) -> Turn:
    """Read entries as a consumer group does, acknowledge them, and look at none."""
    from redis import Redis

    client = Redis.from_url(url)
    group = f"limit-{os.getpid()}"
    client.xgroup_create(key, group, id=after)
    client.xreadgroup(group, "warm", {key: "0"}, count=1)
    left = int(count)
    gc.freeze()
    with timed(left, server=int(server)) as turn:
        while left > 0:
            for _, entries in client.xreadgroup(group, "one", {key: ">"}, count=_COUNT):
                client.xack(key, group, *(entry_id for entry_id, _ in entries))
                left -= len(entries)
    client.xgroup_destroy(key, group)
    return turn


def copy_rows(url: str, after: str, batch: str, server: str) -> Turn:
    """COPY rows that are ready into a table like theirs, a transaction a batch."""
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.cursor()
        with cursor.copy(
            "COPY (SELECT * FROM playhead.jobs WHERE job_id > %s ORDER BY job_id) TO STDOUT", [after]
        ) as copy:
            rows = [bytes(row) for row in copy]
        cursor.execute("CREATE TABLE IF NOT EXISTS jobs_limit (LIKE playhead.jobs INCLUDING ALL)")
        cursor.execute("TRUNCATE jobs_limit")
        cursor.execute("CHECKPOINT")
        size = int(batch) or len(rows)
        parts = [b"".join(rows[start : start + size]) for start in range(0, len(rows), size)]
        gc.freeze()
        with timed(len(rows), server=int(server)) as turn:
            for part in parts:
                with cursor.copy("COPY jobs_limit FROM STDIN") as copy:
                    copy.write(part)
        cursor.execute("TRUNCATE jobs_limit")
    return turn


def create_files(source: str, target: str, count: str) -> Turn:
    """Create the newest files of a tree again in another one, synced by nobody."""
    paths = sorted(Path(source).glob("**/[0-9]*.json"), key=lambda path: path.stat().st_mtime_ns)[-int(count) :]
    files = [(Path(target) / path.relative_to(source), path.read_bytes()) for path in paths]
    gc.freeze()
    with timed(len(files)) as turn:
        made: set[Path] = set()
        for path, content in files:
            if path.parent not in made:
                path.parent.mkdir(parents=True, exist_ok=True)
                made.add(path.parent)
            with open(path, "wb", buffering=0) as file:  # noqa: PTH123  # the fastest way is the limit
                file.write(content)
    return turn


def write_synced(source: str, target: str, count: str) -> Turn:
    """Write the bytes of the newest files of a tree one after the other into one file, synced 500 at a time."""
    paths = sorted(Path(source).glob("**/[0-9]*.json"), key=lambda path: path.stat().st_mtime_ns)[-int(count) :]
    contents = [path.read_bytes() for path in paths]
    parts = [b"".join(contents[start : start + _COUNT]) for start in range(0, len(contents), _COUNT)]
    gc.freeze()
    with timed(len(contents)) as turn, open(Path(target) / "all", "wb", buffering=0) as file:  # noqa: PTH123  # as above
        for part in parts:
            file.write(part)
            os.fdatasync(file.fileno())
    return turn


def record(source: str, target: str, count: str) -> Turn:
    """A recorder that writes each job's file and rewrites the summary of its day, as people write it first."""
    paths = sorted(Path(source).glob("**/[0-9]*.json"))[: int(count)]
    jobs = [json.loads(path.read_bytes()) for path in paths]
    root = Path(target)
    with timed(len(jobs)) as turn:
        for job in jobs:
            scraper = job["job"]["metadata"]["scraper_id"]
            day = root / "daily" / job["job"]["created_at"][:10]
            folder = day / "scrapers" / scraper
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{job['job_id']}.json").write_text(json.dumps(job, indent=2))
            path = day / "summary.json"
            summary = (
                json.loads(path.read_text())
                if path.exists()
                else {"date": day.name, "total_jobs": 0, "scrapers": {}, "jobs": []}
            )
            summary["total_jobs"] += 1
            moment = job["job"]["created_at"]
            mine = summary["scrapers"].setdefault(scraper, {"count": 0, "first_job": moment})
            mine["count"] += 1
            mine["last_job"] = moment
            summary["jobs"].append({"job_id": job["job_id"], "scraper_id": scraper, "timestamp": moment})
            path.write_text(json.dumps(summary, indent=2))
    return turn


def produce(url: str, rate: str, seconds: str, first: str) -> list[tuple[float, str]]:
    """Append events one at a time at an even rate; gives the monotonic time of each call, and the position."""
    from benchmarks.samples import SMALL, Samples
    from playhead.streams.appending.producer import Producer

    events = Samples(int(first)).events(int(float(rate) * float(seconds)), SMALL)
    appended: list[tuple[float, str]] = []
    gc.freeze()
    with Producer(url) as producer:
        start = time.monotonic() + 0.1
        for number, event in enumerate(events):
            time.sleep(max(0.0, start + number / float(rate) - time.monotonic()))
            before = time.monotonic()
            (position,) = producer.append_events([event])
            appended.append((before, str(position)))
    return appended


def ffmpeg(source: str, target: str, at_once: str) -> Turn:
    """Transcode every PCM file of a directory, and do nothing else."""
    from concurrent.futures import ThreadPoolExecutor

    from playhead.consumers.recordings.ffmpeg import Pcm, encoding, find_ffmpeg

    paths, form, program = sorted(Path(source).glob("**/*.pcm")), Pcm(), find_ffmpeg(None)
    command = [program, "-nostdin", "-loglevel", "error", "-f", "s16le", "-ar", str(form.rate), "-ac"]

    def transcode(number: int) -> None:
        made = Path(target) / f"{number}.mp3"
        subprocess.run([*command, str(form.channels), "-i", paths[number], *encoding(form), made], check=True)

    with timed(len(paths), client=os.getpid()) as turn, ThreadPoolExecutor(int(at_once)) as pool:
        list(pool.map(transcode, range(len(paths))))
    return turn


LIMITS = {
    "ffmpeg": ffmpeg,
    "read-and-acknowledge": read_and_acknowledge,
    "copy-rows": copy_rows,
    "create-files": create_files,
    "write-synced": write_synced,
    "record": record,
    "produce": produce,
}

if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(LIMITS[sys.argv[1]](*sys.argv[2:])))
