"""What a command that takes a while shows on a terminal."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from playhead.eventlog.lines import encode_line
from playhead.streams.events import Recorded, new_event
from playhead.streams.positions import Position


@pytest.fixture
def slow_log(tmp_path) -> Path:
    """A log whose only segment is read as slowly as a test writes it."""
    pipe = tmp_path / "eventlog/jobs/0/00000000000000000001-00000.jsonl"
    pipe.parent.mkdir(parents=True)
    os.mkfifo(pipe)
    return pipe


def verify(log: Path, stderr: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "playhead", "log", "verify"],
        env=os.environ | {"EVENT_LOG_DIR": str(log.parents[2]), "TERM": "xterm", "COLUMNS": "200"},
        stdout=subprocess.PIPE,
        stderr=stderr,
    )


def lines(first: int, last: int) -> bytes:
    event = new_event("job.completed", subject="job/1", data={"job_id": "1", "job": {}}, id="1")
    return b"".join(encode_line(Recorded(event, Position(number, 0))) for number in range(first, last))


def test_a_command_that_takes_a_while_says_how_far_it_is_and_leaves_no_trace(slow_log):
    terminal, its_end = os.openpty()
    with verify(slow_log, its_end) as process:
        os.close(its_end)
        with slow_log.open("wb") as log:
            log.write(lines(1, 2001))
            log.flush()
            shown = b""
            while b"2,000" not in shown:
                shown += os.read(terminal, 4096)
            log.write(lines(2001, 2002))
        found, _ = process.communicate()
    os.close(terminal)

    assert (0, b"2001 events, 0 faults\n") == (process.returncode, found)
    assert b"checking the log" in shown


@pytest.mark.parametrize("on_a_terminal", [True, False])
def test_a_command_that_is_quick_or_writes_to_a_file_shows_nothing(slow_log, on_a_terminal):
    reading, writing = os.openpty() if on_a_terminal else os.pipe()
    slow_log.unlink()
    slow_log.write_bytes(lines(1, 3))
    with verify(slow_log, writing) as process:
        found, _ = process.communicate()
    os.set_blocking(reading, False)

    assert (0, b"2 events, 0 faults\n") == (process.returncode, found)
    with pytest.raises(BlockingIOError):
        os.read(reading, 1)
    os.close(writing)
    os.close(reading)
