"""Following the log while it is written, and its last events."""

import pytest

from playhead.eventlog.following import Follower
from playhead.eventlog.log import EventLog
from playhead.eventlog.reader import read_last
from playhead.eventlog.writer import LogWriter
from playhead.streams.events import Recorded, new_event
from playhead.streams.partitions import Partition
from playhead.streams.positions import START, Position
from playhead.streams.sinks import Batch, Source

JOBS, NOTES = Partition("jobs", 0), Partition("notes", 0)
NOON = 1_754_740_800_000
"""Milliseconds of 2025-08-09T12:00:00Z."""


def event(number, type="job.completed"):
    time = f"2025-08-09T12:00:{number:02}Z"
    recorded = new_event(type, subject=f"s/{number % 3}", data={"n": number}, id=f"e{number}", time=time)
    return Recorded(recorded, Position(NOON + number, 0), number)


def write(root, events, partition=JOBS, segment_bytes=1 << 30):
    log = LogWriter(root, segment_bytes=segment_bytes)
    log.open(partition, 1)
    for each in events:
        log.apply(Batch(Source(partition), [each], each.position))
    log.close()


def ids(events):
    return [received.event.id for received in events]


def test_a_follower_gives_each_event_once_while_segments_are_sealed(tmp_path):
    follower, given_, position = Follower(tmp_path, JOBS), [], START
    log = LogWriter(tmp_path, segment_bytes=900)
    log.open(JOBS, 1)
    for number in range(1, 60):
        log.apply(Batch(Source(JOBS), [event(number)], Position(NOON + number, 0)))
        if number % 7 == 0:
            for recorded in follower.behind(position):
                given_.append(recorded.sequence)
                position = recorded.position
    log.close()
    given_ += [recorded.sequence for recorded in follower.behind(position)]

    assert list(range(1, 60)) == given_
    assert list(range(1, 60)) == [recorded.sequence for recorded in follower.behind(START)]
    assert len(list(tmp_path.glob("jobs/0/*.zst"))) > 5


def test_a_follower_waits_for_the_end_of_a_line(tmp_path):
    write(tmp_path, [event(1), event(2)])
    (path,) = tmp_path.glob("jobs/0/*.jsonl")
    whole = path.read_bytes()
    follower = Follower(tmp_path, JOBS)
    path.write_bytes(whole[:-20])
    first = [recorded.sequence for recorded in follower.behind(START)]
    path.write_bytes(whole)

    assert [1] == first
    assert [2] == [recorded.sequence for recorded in follower.behind(Position(NOON + 1, 0))]


@pytest.mark.parametrize("count", [0, 1, 4, 100])
def test_the_last_events_are_those_that_a_whole_reading_ends_with(tmp_path, count):
    write(tmp_path, [event(n) for n in range(0, 30, 2)], segment_bytes=900)
    write(tmp_path, [event(n, "note.submitted") for n in range(1, 30, 2)], NOTES, segment_bytes=900)
    whole = ids(EventLog.open(tmp_path).read())

    assert whole[max(0, len(whole) - count) :] == [one.event.id for _, one in read_last(tmp_path, count)]
    assert ids(EventLog.open(tmp_path).read(type="note.submitted"))[-4:] == [
        one.event.id for _, one in read_last(tmp_path, 4, types=["note.submitted"])
    ]
