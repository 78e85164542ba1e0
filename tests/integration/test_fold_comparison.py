"""Given meetings that go on, when their rows are compared with the log, then what is newer is no fault and stays."""

import os
import shutil

import psycopg
import pytest

from playhead.comparison import level
from playhead.comparison.folds import FoldComparison
from playhead.comparison.level import partitions_of
from playhead.eventlog.replay.replay import Replay, new_run
from playhead.projections.recordings.projection import Recordings
from playhead.projections.recordings.verification import RecordingsVerification
from playhead.streams.events import Recorded, new_event
from playhead.streams.partitions import Partition
from playhead.streams.positions import Position
from playhead.streams.redis.stream_info import group_position
from playhead.streams.sinks import Batch, Source
from tests.support.places import place_of

PARTITION = Partition("recordings", 0)
AT = "2026-01-31T12:00:00.000000Z"


@pytest.fixture
def redis_server(valkey):
    return valkey


def started(meeting):
    data = {"meeting_id": meeting, "guild_id": "g", "channel_id": "c", "strategy": "hybrid", "started_at": AT}
    return new_event("meeting.started", subject=f"meeting/{meeting}", data=data)


def flushed(meeting, sequence=0):
    data = {
        "meeting_id": meeting, "temp_recording_id": f"{meeting}-{sequence}", "user_id": "u", "guild_id": "g",
        "sequence": sequence, "pcm_path": f"pcm/{meeting}/u/{sequence:08}.pcm", "rate": 48000, "channels": 2,
        "started_at": AT,
    }  # fmt: skip
    return new_event("chunk.flushed", subject=f"meeting/{meeting}", data=data)


def stopped(meeting):
    data = {"meeting_id": meeting, "user_ids": ["u"], "stopped_at": AT}
    return new_event("meeting.stopped", subject=f"meeting/{meeting}", data=data)


class Meetings:
    def __init__(self, pipeline) -> None:
        self.pipeline = pipeline
        self.log, self.audio = pipeline.directory / "eventlog", pipeline.directory / "recordings"

    def start(self, *names):
        makers = {"log": lambda: "log", "recordings": self.sink}
        self.pipeline.start(*(makers[name]() for name in names))

    def sink(self):
        return Recordings(place_of("recordings", self.pipeline.database))

    def caught_up(self, *names):
        self.pipeline.caught_up(*names, stream="recordings")

    def compare(self, *, repair=False, log_is_whole=True, meanwhile=lambda: None):
        partitions = partitions_of(self.log, ["recordings"], [PARTITION])
        reached = {one: group_position(self.pipeline.redis, one, "recordings") for one in partitions}
        verification = RecordingsVerification(place_of("recordings", self.pipeline.database), self.audio, keep=False)
        comparison = FoldComparison(self.pipeline.redis, self.log, "recordings", partitions, verification)
        found = comparison.compare(reached, {}, log_is_whole=log_is_whole)
        meanwhile()
        if repair:
            replay = Replay(self.pipeline.redis, new_run(), {"recordings": ("recordings",)})
            replay.send(comparison.repair(found.faults))
            replay.finish()
        verification.close()
        return [(fault.kind, fault.key) for fault in found.faults], list(found.undecided), found.reason

    def rows(self):
        with psycopg.connect(self.pipeline.database) as connection:
            return [
                connection.execute(f"SELECT {table}::text FROM {table} ORDER BY id").fetchall()
                for table in ("meetings", "temp_recordings", "recordings")
            ]

    def change(self, *statements):
        with psycopg.connect(self.pipeline.database) as connection:
            for statement in statements:
                connection.execute(statement)


@pytest.fixture
def meetings(pipeline, monkeypatch):
    monkeypatch.setattr(level, "_LOG_SECONDS", 0.2)
    found = Meetings(pipeline)
    pipeline.append(*(make(meeting) for make in (started, flushed) for meeting in "abc"))
    found.start("log", "recordings")
    found.caught_up("log", "recordings")
    return found


def test_a_meeting_that_went_on_before_the_log_did_stays_as_it_is(meetings, pipeline):
    pipeline.stop()
    meetings.start("recordings")
    pipeline.append(stopped("a"), started("new"))
    meetings.caught_up("recordings")
    whole = meetings.rows()
    faults, undecided, reason = meetings.compare(repair=True)

    assert ([], ["a", "new"]) == (faults, undecided)
    assert "log writer has not written all of recordings/0" in reason
    assert whole == meetings.rows()

    meetings.start("log")
    meetings.caught_up("log")

    assert ([], [], "") == meetings.compare()


def test_an_older_log_takes_nothing_from_newer_meetings(meetings, pipeline):
    shutil.copytree(meetings.log, older := pipeline.directory / "older")
    pipeline.append(stopped("a"), started("new"))
    meetings.caught_up("log", "recordings")
    meetings.change("UPDATE meetings SET guild_id = 'by hand' WHERE id = 'b'")
    whole = meetings.rows()
    meetings.log = older
    faults, undecided, reason = meetings.compare(repair=True)

    assert ([], ["a", "b", "new"]) == (faults, undecided)
    assert "the log lacks events of recordings/0" in reason
    assert whole == meetings.rows()


def test_a_meeting_whose_event_a_level_log_does_not_have_is_named_and_stays(meetings, pipeline):
    pipeline.stop()
    sink = meetings.sink()
    sink.open(PARTITION, 1 << 60)
    later = [
        Recorded(event, Position(2_000_000_000_000 + n, 0)) for n, event in enumerate([stopped("a"), started("new")])
    ]
    sink.apply(Batch(Source(PARTITION), later, later[-1].position))
    sink.close()
    whole = meetings.rows()

    assert ([("unlogged", "a"), ("unlogged", "new")], [], "") == meetings.compare(repair=True)
    assert whole == meetings.rows()


@pytest.mark.parametrize(
    ("kind", "statement"),
    [
        ("altered", "UPDATE meetings SET guild_id = 'by hand' WHERE id = 'b'"),
        ("altered", "UPDATE temp_recordings SET rate = 1 WHERE meeting_id = 'b'"),
        ("missing", "DELETE FROM temp_recordings WHERE meeting_id = 'b'"),
        ("missing", "DELETE FROM meetings WHERE id = 'b'"),
        (
            "missing",
            "WITH one AS (DELETE FROM temp_recordings WHERE meeting_id = 'b') DELETE FROM meetings WHERE id = 'b'",
        ),
    ],
)
def test_a_meeting_that_was_changed_by_hand_is_found_and_made_again(meetings, kind, statement):
    whole = meetings.rows()
    meetings.change(statement)

    faults, undecided, _ = meetings.compare(repair=True)

    assert (True, []) == ((kind, "b") in faults, undecided)
    assert whole == meetings.rows()
    assert ([], [], "") == meetings.compare()


def test_a_meeting_that_lags_is_brought_forward(meetings, pipeline):
    order = "(SELECT event_order FROM meetings WHERE id = 'c')"
    pipeline.append(flushed("b", 1))
    meetings.caught_up("log", "recordings")
    whole = meetings.rows()
    with psycopg.connect(pipeline.database) as connection:
        connection.execute("DELETE FROM temp_recordings WHERE id = 'b-1'")
        before = [event for event in pipeline.redis.xrange(PARTITION.key) if b"b-0" in event[1][b"body"]]
        milliseconds, counter = before[0][0].decode().split("-")
        order = "%015d-%010d-%015d-%010d" % (int(milliseconds), int(counter), 0, 0)  # noqa: UP031
        connection.execute("UPDATE meetings SET event_order = %s WHERE id = 'b'", (order,))

    assert ([("stale", "b")], [], "") == meetings.compare(repair=True)
    assert whole == meetings.rows()


def test_a_meeting_that_went_on_since_it_was_judged_is_not_removed(meetings, pipeline):
    meetings.change("UPDATE meetings SET guild_id = 'by hand' WHERE id = 'b'")

    def go_on():
        pipeline.append(flushed("b", 1))
        meetings.caught_up("log", "recordings")

    found = meetings.compare(repair=True, meanwhile=go_on)
    kept = meetings.rows()[0]

    assert ([("altered", "b")], [], "") == found
    assert any("by hand" in row for (row,) in kept)


def test_rows_and_files_that_no_event_speaks_of_are_named_and_stay(meetings):
    columns = "id, meeting_id, created_at, duration_in_ms, sha256, filename, strategy"
    meetings.change(f"INSERT INTO recordings ({columns}) VALUES ('r', 'nobody', now(), 1, '', '', 'hybrid')")
    old, new = meetings.audio / "recordings/a/old.mp3", meetings.audio / "recordings/a/new.mp3"
    old.parent.mkdir(parents=True)
    for file in (old, new):
        file.write_bytes(b"audio")
    os.utime(old, (1_700_000_000, 1_700_000_000))
    whole = meetings.rows()

    assert ([("stray", "nobody"), ("stray", "recordings/a/old.mp3")], [], "") == meetings.compare(repair=True)
    assert whole == meetings.rows()
    assert old.exists()
