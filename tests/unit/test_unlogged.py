"""What is missing at the end of the log, as Redis and the sinks show it."""

import pytest

from playhead.checks.unlogged import UnloggedShown
from playhead.consumers.reading.unlogged import SinkMark, StreamState, find_missing
from playhead.eventlog.ends import LogEnd
from playhead.settings.settings import load
from playhead.streams.partitions import Partition, partition_named
from playhead.streams.positions import START, Position

JOBS = Partition("jobs", 0)
END = LogEnd(Position(100, 0), 10)


def at(milliseconds: int) -> Position:
    return Position(milliseconds, 0)


def stream(
    last: int = 100, sequence: int = 10, behind: tuple[int, int | None] | None = None, **more: int
) -> StreamState:
    position, number = (None, None) if behind is None else (at(behind[0]), behind[1])
    acknowledged = at(more.pop("acknowledged", 100))
    return StreamState(at(last), sequence, position, number, acknowledged, **more)


def mark(position: int, sequence: int | None, partition: Partition = JOBS) -> SinkMark:
    return SinkMark("jobs", partition, at(position), sequence)


@pytest.mark.parametrize(
    ("state", "marks"),
    [
        (stream(), []),
        (stream(), [mark(100, 10), mark(90, 9)]),
        (stream(150, 15, (110, 11)), [mark(150, 15), mark(130, None)]),  # the log is behind the stream
        (stream(150, 12, (110, None)), [mark(130, 10)]),  # another client appended without a number
        (stream(150, 3, (140, 1)), []),  # the stream was emptied, and the log has not compared it yet
        (stream(150, 11, parked=1, acknowledged=150), []),  # the log set the last entry aside
        (stream(150), [mark(140, None)]),  # entries without a number, trimmed or dropped
        (stream(), [mark(200, 20, Partition("jobs", 1))]),
    ],
)
def test_what_is_level_or_only_behind_lacks_nothing(state, marks):
    assert find_missing(JOBS, END, state, marks) is None


@pytest.mark.parametrize(
    ("state", "marks", "expected"),
    [
        (stream(150, 15, acknowledged=150), [], (5, 150, True)),  # the log was set back, the stream trimmed
        (stream(150, 15, (140, 14), acknowledged=150), [], (3, 140, True)),
        (stream(150, 15), [], (5, 150, False)),  # the stream lost them before the log read them
        (stream(), [mark(150, 15)], (5, 150, True)),  # log and Redis were set back
        (stream(), [mark(140, 14), mark(150, 15)], (5, 150, True)),
        (stream(), [mark(150, None)], (1, 150, True)),  # an earlier version noted no number
        (stream(170, 12, (160, 11)), [mark(150, 15)], (5, 150, True)),  # and went on with the same numbers
        (stream(150, 15, (140, 14), acknowledged=150), [mark(150, 15)], (3, 150, True)),
    ],
)
def test_what_redis_or_a_sink_shows_is_counted_once(state, marks, expected):
    missing = find_missing(JOBS, END, state, marks)

    assert missing is not None
    assert expected == (missing.count, missing.before.milliseconds, missing.is_known)
    assert END.position == missing.after


def test_a_log_that_was_deleted_lacks_everything():
    missing = find_missing(JOBS, LogEnd(), stream(100, 10, acknowledged=100), [])

    assert missing is not None
    assert (10, START, True) == (missing.count, missing.after, missing.is_known)


@pytest.mark.parametrize(
    ("expected", "text"),
    [
        (Partition("jobs", 0), "jobs/0"),
        (Partition("acme/jobs", 12), "acme/jobs/12"),
        (None, "jobs"),
        (None, "jobs/"),
        (None, "jobs/-1"),
        (None, "jobs/²"),
        (None, "/0"),
    ],
)
def test_a_checkpoint_names_its_partition(expected: Partition | None, text: str) -> None:
    assert partition_named(text) == expected


@pytest.mark.parametrize(("kept_by", "imports"), [(["json-files", "jobs"], True), (["jobs"], False), ([], False)])
def test_files_that_have_the_events_are_to_be_imported(tmp_path, kept_by, imports):
    missing = UnloggedShown("jobs/0", 1, "100-0", "101-0", kept_by, is_noted=False)

    assert imports == ("playhead replay --use-default-output-dir" in missing.advice(load(tmp_path)))
