"""The examples of docs/event-log.md, on a log with active and sealed segments and payloads of different shapes."""

import json
import re
import shutil
import signal
import subprocess
from collections import Counter
from pathlib import Path

import duckdb
import pytest

from playhead.eventlog.writer import LogWriter
from playhead.streams.events import Recorded, new_event
from playhead.streams.partitions import Partition
from playhead.streams.positions import Position
from playhead.streams.sinks import Batch, Source
from tests.support.processes import Playhead

DOCUMENT = Path(__file__).parents[2] / "docs" / "event-log.md"
PAYLOADS = [
    {"job_id": "1", "job": {"metadata": {"scraper_id": "freshtrak"}}, "result": "text"},
    {"job_id": "2", "job": {"metadata": {"scraper_id": "freshtrak"}}, "result": {"nested": [1, "two", None]}},
    {"job_id": "3", "job": {"metadata": {}}, "result": None, "error": {"class": "Timeout"}},
    {"job_id": "4", "job": {}, "result": [1.5, 12345678901234567890123], "more": "é \ud83d\ude00"},
]


@pytest.fixture
def log(tmp_path, monkeypatch) -> Counter[str]:
    """A log of two streams below the working directory, with the number of its events by type."""
    writer = LogWriter(tmp_path / "eventlog", segment_bytes=2000)
    counts: Counter[str] = Counter()
    for stream, types in {"jobs": ["job.completed", "job.failed"], "notes": ["note.submitted"]}.items():
        partition = Partition(stream, 0)
        writer.open(partition, 1)
        for number in range(21):
            type_ = types[number % len(types)]
            event = new_event(
                type_, subject=f"{stream}/{number}", data=PAYLOADS[number % 4], time="2025-08-09T00:00:00Z"
            )
            position = Position(1754502000000 + number, 0)
            writer.apply(Batch(Source(partition), [Recorded(event, position, number + 1)], position))
            counts[type_] += 1
    writer.close()
    monkeypatch.chdir(tmp_path)
    assert list(tmp_path.glob("eventlog/*/*/*.jsonl.zst"))
    assert len(list(tmp_path.glob("eventlog/*/*/*.jsonl"))) == 2
    return counts


def examples(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)


def test_duckdb_reads_the_log_as_it_is(log):
    by_type, by_scraper = examples("sql")

    assert sorted(log.items()) == duckdb.sql(by_type).fetchall()
    assert [(None, 10), ("freshtrak", 11)] == sorted(
        (row[:2] for row in duckdb.sql(by_scraper).fetchall()), key=lambda row: row[1]
    )


@pytest.mark.skipif(not (shutil.which("zstdcat") and shutil.which("jq")), reason="zstdcat or jq is not installed")
def test_zstdcat_and_jq_read_sealed_segments(log):
    command = next(line for line in examples("console")[0].splitlines() if line.startswith("zstdcat"))
    lines = subprocess.run(command, shell=True, check=True, capture_output=True).stdout.decode().splitlines()

    assert lines
    assert {"job.completed", "job.failed"} == {line.split("\t")[1] for line in lines}


def test_an_active_segment_is_lines_of_json(log, tmp_path):
    (path,) = tmp_path.glob("eventlog/jobs/0/*.jsonl")

    assert all(json.loads(line).keys() == {"position", "crc32c", "event"} for line in path.read_bytes().splitlines())


def test_the_last_events_are_printed_as_they_stand_in_the_log(log, tmp_path):
    playhead = Playhead(tmp_path / "data", "redis://127.0.0.1:1", EVENT_LOG_DIR=str(tmp_path / "eventlog"))
    (active,) = tmp_path.glob("eventlog/notes/0/*.jsonl")
    whole = playhead("log", "cat").stdout.splitlines(keepends=True)

    assert active.read_bytes().splitlines(keepends=True)[-2:] == tail(playhead, "-n", "2", "--stream", "notes")
    assert 10 == len(tail(playhead))
    assert sorted(whole) == sorted(tail(playhead, "--lines", "100"))
    assert ["jobs/20"] == [json.loads(one)["event"]["subject"] for one in tail(playhead, "--subject", "jobs/20")]
    assert {"job.failed"} == {json.loads(one)["event"]["type"] for one in tail(playhead, "--type", "job.failed")}
    for wrong, says in (
        (["-n", "-1"], b"-n takes a number of events from 0 up"),
        (["--stream", "x"], b"no stream 'x'"),
    ):
        done = playhead.attempt("log", "tail", *wrong)
        assert 2 == done.returncode
        assert says in done.stderr


def test_following_prints_each_new_event_until_ctrl_c(log, tmp_path):
    playhead = Playhead(tmp_path / "data", "redis://127.0.0.1:1", EVENT_LOG_DIR=str(tmp_path / "eventlog"))
    writer = LogWriter(tmp_path / "eventlog", segment_bytes=700)
    jobs, new = Partition("jobs", 0), Partition("content", 0)
    for partition in (jobs, new):
        writer.open(partition, 1)
    with playhead.start("log", "tail", "-n", "1", "--follow", "--stream", "jobs", "--stream", "content") as following:
        assert b"jobs/20" in following.stdout.readline()
        for number in range(100, 140):
            for partition in (jobs, new):
                event = new_event("job.completed", subject=f"{partition.stream}/{number}", data=PAYLOADS[0])
                position = Position(1754502000000 + number, 0)
                writer.apply(Batch(Source(partition), [Recorded(event, position, number)], position))
        found = [json.loads(following.stdout.readline())["event"]["subject"] for _ in range(80)]
        following.send_signal(signal.SIGINT)
        rest, stderr = following.communicate(timeout=60)
    writer.close()

    for stream in ("jobs", "content"):
        assert [f"{stream}/{n}" for n in range(100, 140)] == [one for one in found if one.startswith(stream)]
    assert (130, b"", b"") == (following.returncode, rest, stderr)


def test_following_ends_quietly_when_nobody_reads_it_any_more(log, tmp_path):
    playhead = Playhead(tmp_path / "data", "redis://127.0.0.1:1", EVENT_LOG_DIR=str(tmp_path / "eventlog"))
    with playhead.start("log", "tail", "-n", "1", "--follow") as following:
        following.stdout.readline()
        following.stdout.close()
        writer = LogWriter(tmp_path / "eventlog")
        partition, position = Partition("jobs", 0), Position(1754502001000, 0)
        writer.open(partition, 1)
        event = new_event("job.completed", subject="jobs/100", data={})
        writer.apply(Batch(Source(partition), [Recorded(event, position, 100)], position))
        writer.close()
        code = following.wait(60)
        stderr = following.stderr.read()

    assert (141, b"") == (code, stderr)


def tail(playhead, *arguments):
    return playhead("log", "tail", *arguments).stdout.splitlines(keepends=True)
