"""Commands that read a log in which something is missing."""

import json
from pathlib import Path

import pytest

from playhead.eventlog.reader import partitions
from playhead.eventlog.writer import LogWriter
from playhead.streams.events import Event, Recorded
from playhead.streams.partitions import Partition
from playhead.streams.positions import Position
from playhead.streams.sinks import Batch, Source
from tests.support.processes import JOB, Playhead

JOBS = Partition("jobs", 0)


@pytest.fixture
def playhead(tmp_path):
    """Six events, two a segment, of which the middle one is gone."""
    root = tmp_path / "data" / "eventlog"
    for first in (1, 3, 5):
        log = LogWriter(root, segment_bytes=1)
        log.open(JOBS, 1)
        log.apply(Batch(Source(JOBS), [recorded(first), recorded(first + 1)], recorded(first + 1).position))
        log.close()
    directory = root / "jobs/0"
    for path in directory.glob(f"*{recorded(3).position.milliseconds}-*"):
        path.unlink()
    assert [JOBS] == partitions(root)
    return Playhead(tmp_path / "data", "redis://127.0.0.1:1")


def recorded(number: int) -> Recorded:
    data = (JOB % number).encode()
    time = f"2025-08-09T00:00:{number:02d}Z"
    event = Event(id=f"id-{number}", source="test", type="job.completed", time=time, subject=f"job/{number}", data=data)
    return Recorded(event, Position(1_754_541_721_000 + number, 0), number)


def events(output: bytes) -> list[str]:
    return [json.loads(line)["event"]["id"] for line in output.splitlines()]


def test_log_cat_stops_before_the_first_event_and_says_what_is_missing(playhead):
    done = playhead.attempt("log", "cat")

    assert (4, b"") == (done.returncode, done.stdout)
    assert b"2 events are missing before it" in done.stderr
    assert str(recorded(5).position).encode() in done.stderr


def test_log_cat_goes_on_where_gaps_are_allowed_and_counts_at_the_end(playhead):
    done = playhead.attempt("log", "cat", "--allow-gaps")

    assert (0, ["id-1", "id-2", "id-5", "id-6"]) == (done.returncode, events(done.stdout))
    assert b"2 events missing in the log, at 1 place" in done.stderr


def test_a_replay_stops_before_it_appends_and_goes_on_where_gaps_are_allowed(playhead):
    stopped = playhead.attempt("replay", "--dry-run", "--json")
    allowed = playhead.attempt("replay", "--dry-run", "--allow-gaps", "--json")

    assert (4, b"") == (stopped.returncode, stopped.stdout)
    assert b"2 events are missing" in stopped.stderr
    report = json.loads(allowed.stdout)
    assert (0, 4, 2) == (allowed.returncode, report["replayed"], report["missing"])


def test_gaps_that_are_accepted_stop_nobody_but_stay_faults(playhead):
    rehearsed = json.loads(playhead("log", "accept-gaps", "--dry-run", "--json").stdout)
    still = playhead.attempt("log", "cat")
    accepted = json.loads(playhead("log", "accept-gaps", "--json").stdout)
    again = json.loads(playhead("log", "accept-gaps", "--json").stdout)
    done = playhead.attempt("log", "cat")
    verified = playhead.attempt("log", "verify", "--json")

    assert [{"gaps": 1, "events": 2}, {"gaps": 1, "events": 2}, {"gaps": 0, "events": 0}] == [
        rehearsed,
        accepted,
        again,
    ]
    assert 4 == still.returncode
    assert (0, ["id-1", "id-2", "id-5", "id-6"]) == (done.returncode, events(done.stdout))
    assert 4 == verified.returncode


@pytest.mark.parametrize("left", [".jsonl.zst", ".manifest.json"])
def test_half_a_segment_is_named(playhead, left):
    directory = Path(playhead.environment["PLAYHEAD_DATA_DIR"]) / "eventlog/jobs/0"
    for path in directory.glob(f"*{recorded(5).position.milliseconds}-*"):
        if not path.name.endswith(left):
            path.unlink()
            gone = path

    done = playhead.attempt("log", "cat", "--subject", "job/1")
    assert 4 == done.returncode
    assert playhead.attempt("log", "accept-gaps").returncode == 0
    assert 0 == playhead.attempt("log", "cat").returncode
    assert gone.name.encode() in playhead.attempt("log", "verify").stdout
