"""The examples of docs/event-log.md, on a log with active and sealed segments and payloads of different shapes."""

import json
import re
import shutil
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
