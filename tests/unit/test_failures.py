"""Given an error of a sink, one word says what becomes of the batch."""

import errno

import psycopg
import pytest

from playhead.consumers.errors import LeaseLost, Retry
from playhead.eventlog.errors import BehindTail, LogCorrupt, LogWriteFailed
from playhead.eventlog.writer import LogWriter
from playhead.projections.failures import classify
from playhead.projections.jobs.json_files.errors import UnreadableSummary
from playhead.projections.jobs.json_files.projection import JsonFiles
from playhead.streams.errors import BlobMissing, InvalidEvent, StoreUnavailable
from playhead.streams.positions import START

TRANSIENT = [
    OSError(errno.ENOSPC, "no room"),
    ConnectionResetError(),
    TimeoutError(),
    MemoryError(),
    StoreUnavailable("away"),
]
PERMANENT = [
    OSError(errno.ENAMETOOLONG, "a name of an event"),
    InvalidEvent("data", "not JSON"),
    BlobMissing("00", "there"),
    ValueError("of the projection"),
    KeyError("of the projection"),
    LeaseLost("not of a sink"),
]


@pytest.mark.parametrize("error", TRANSIENT, ids=repr)
def test_trouble_of_a_machine_or_connection_passes(error):
    assert "transient" == classify(error)


@pytest.mark.parametrize("error", PERMANENT, ids=repr)
def test_what_an_event_brings_about_stays(error):
    assert "permanent" == classify(error)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (psycopg.OperationalError("the connection is closed"), "transient"),
        (psycopg.errors.DeadlockDetected(), "transient"),
        (psycopg.errors.UndefinedTable(), "transient"),
        (psycopg.errors.DiskFull(), "transient"),
        (psycopg.errors.LockNotAvailable(), "transient"),
        (psycopg.errors.UniqueViolation(), "permanent"),
        (psycopg.errors.UntranslatableCharacter(), "permanent"),
        (psycopg.ProgrammingError("not of the server"), "permanent"),
    ],
    ids=repr,
)
def test_postgres_says_by_its_code_whether_a_failure_passes(error, expected):
    assert expected == classify(error)


def test_a_sink_tells_its_own_trouble_from_that_of_an_event(tmp_path):
    log, files = LogWriter(tmp_path / "eventlog"), JsonFiles(tmp_path / "outputs")

    assert "fatal" == log.classify(LogWriteFailed(tmp_path, "no fsync"))
    assert "lasting" == log.classify(LogCorrupt(tmp_path, 1, None, "damaged"))
    assert "permanent" == log.classify(BehindTail(START))
    assert "transient" == log.classify(OSError(errno.ENOSPC, "no room"))
    assert "lasting" == files.classify(UnreadableSummary("cut off"))
    assert "transient" == files.classify(OSError(errno.ENOSPC, "no room"))


@pytest.mark.parametrize(("expected", "after"), [(None, None), (60, 60), (0, -5), (0, float("-inf")), (86_400, 86_400)])
def test_a_retry_waits_between_no_time_and_a_day(expected, after):
    assert expected == Retry("the mail server is busy", after=after).after
