"""Given events of a meeting, when they are applied in some way, then these rows stand in Postgres."""

import json
from datetime import UTC, datetime

import psycopg
import pytest

from playhead.projections.recordings.errors import InvalidTransition
from playhead.projections.recordings.projection import Recordings
from playhead.projections.recordings.rows import chunks_of, find_meetings, recordings_of
from playhead.streams.errors import InvalidEvent
from playhead.streams.events import Event, Recorded
from playhead.streams.partitions import Partition
from playhead.streams.positions import Position
from playhead.streams.sinks import Batch, Source
from tests.support.databases import make_database
from tests.support.places import place_of

PARTITION = Partition("recordings", 0)
AT = "2026-01-31T12:00:00.000000Z"
CHUNK = {"meeting_id": "m", "temp_recording_id": "c1", "user_id": "u"}
STARTED = ("meeting.started", {"guild_id": "g", "channel_id": "c", "strategy": "hybrid", "started_at": AT})
FLUSHED = (
    "chunk.flushed",
    CHUNK
    | {
        "guild_id": "g",
        "sequence": 0,
        "pcm_path": "pcm/m/u/00000000.pcm",
        "rate": 48000,
        "channels": 2,
        "started_at": AT,
    },
)
BEGUN = ("transcode.started", CHUNK | {"attempt": 1})
DONE = (
    "transcode.finished",
    CHUNK | {"mp3_path": "mp3/m/u/00000000.mp3", "sha256": "abc", "duration_ms": 10, "samples": 480, "rate": 48000},
)
FAILED = ("transcode.failed", CHUNK | {"error": "E: broken", "stderr": "", "attempt": 5})
CLEANED = ("chunk.cleaned", CHUNK | {"pcm_path": "pcm/m/u/00000000.pcm"})
EXPIRED = ("chunk.expired", CHUNK)
STOPPED = ("meeting.stopped", {"user_ids": ["u"], "stopped_at": AT})
PROMOTED = (
    "recording.promoted",
    {
        "recording_id": "r1",
        "user_id": None,
        "strategy": "meeting",
        "filename": "recordings/m/meeting-r1.mp3",
        "sha256": "def",
        "duration_in_ms": 10,
        "chunk_ids": ["c1"],
        "missing_chunk_ids": [],
        "created_at": AT,
    },
)
UNPROMOTED = ("recording.promotion_failed", {"strategy": "meeting", "error": "nothing", "missing_chunk_ids": ["c1"]})
WHOLE = [STARTED, FLUSHED, BEGUN, DONE, STOPPED, PROMOTED, CLEANED]


@pytest.fixture
def database(postgres):
    return make_database(postgres)


@pytest.fixture
def sink(database):
    sink = Recordings(place_of("recordings", database))
    sink.open(PARTITION, 1)
    yield sink
    sink.close()


def events(*facts, first=1, subject="meeting/m"):
    return [
        Recorded(
            Event(
                id=f"e{number}",
                source="test",
                type=type,
                time=AT,
                subject=subject,
                data=json.dumps({"meeting_id": "m", **data}).encode(),
            ),
            Position(number, 0),
        )
        for number, (type, data) in enumerate(facts, first)
    ]


def batch(recorded, replay=None):
    return Batch(Source(PARTITION, replay), recorded, recorded[-1].position)


def rows(database):
    with psycopg.connect(database) as connection:
        connection.execute("SET timezone = 'UTC'")
        return find_meetings(connection), chunks_of(connection, "m"), recordings_of(connection, "m")


def apply_all(sink, recorded, size=1, replay=None):
    for start in range(0, len(recorded), size):
        sink.apply(batch(recorded[start : start + size], replay))


def test_a_meeting_is_followed_from_its_start_to_its_recording(database, sink):
    apply_all(sink, events(*WHOLE[:4]))
    _, (chunk,), _ = rows(database)
    apply_all(sink, events(*WHOLE[4:], first=5))
    (meeting,), chunks, (recording,) = rows(database)

    assert ("DONE", "abc", 10, 480) == (chunk.transcode_status, chunk.sha256, chunk.duration_ms, chunk.samples)
    assert datetime(2026, 1, 31, 12, tzinfo=UTC) == chunk.started_at
    assert ("PROMOTED", "hybrid", ["u"]) == (meeting.status, meeting.strategy, meeting.user_ids)
    assert [] == chunks
    assert ("def", 10, None) == (recording.sha256, recording.duration_in_ms, recording.user_id)


@pytest.mark.parametrize("size", [1, 3, 100])
def test_any_batches_and_any_replay_give_the_same_rows(database, sink, size):
    recorded = events(*WHOLE)
    apply_all(sink, recorded, size)
    once = rows(database)
    apply_all(sink, recorded, size)
    apply_all(sink, recorded[:4], size, replay="run")
    again = rows(database)
    with psycopg.connect(database) as connection:
        connection.execute("TRUNCATE meetings, temp_recordings, recordings")
    apply_all(sink, recorded, size, replay="run")

    assert once == again == rows(database)


def test_chunks_are_kept_for_audit_where_asked(database):
    sink = Recordings(place_of("recordings", database), keep=True)
    sink.open(PARTITION, 1)
    apply_all(sink, events(*WHOLE))
    sink.close()

    assert [("DONE", True)] == [(chunk.transcode_status, chunk.cleaned) for chunk in rows(database)[1]]


def test_chunks_stay_while_the_recording_lacks_some(database, sink):
    type, data = PROMOTED
    apply_all(sink, events(*WHOLE[:5], (type, data | {"missing_chunk_ids": ["c2"]})))

    assert 1 == len(rows(database)[1])
    assert ["c2"] == rows(database)[2][0].missing_chunk_ids


@pytest.mark.parametrize(
    ("before", "event", "states"),
    [
        ([STARTED], BEGUN, "nothing -> IN_PROGRESS"),
        ([STARTED], DONE, "nothing -> DONE"),
        ([STARTED, FLUSHED], DONE, "QUEUED -> DONE"),
        ([STARTED, FLUSHED, BEGUN], CLEANED, "IN_PROGRESS -> cleaned"),
        ([STARTED, FLUSHED, BEGUN, DONE], BEGUN, "DONE -> IN_PROGRESS"),
        ([STARTED, FLUSHED, BEGUN, DONE], FAILED, "DONE -> FAILED"),
        ([STARTED, FLUSHED, BEGUN, DONE], EXPIRED, "DONE -> expired"),
        ([STARTED, FLUSHED, BEGUN, DONE], (DONE[0], DONE[1] | {"sha256": "x"}), "DONE -> DONE"),
        ([STARTED, FLUSHED], (FLUSHED[0], FLUSHED[1] | {"started_at": "2027-01-01T00:00:00Z"}), "QUEUED -> QUEUED"),
        ([STARTED], PROMOTED, "ACTIVE -> PROMOTED"),
        ([STARTED], UNPROMOTED, "ACTIVE -> PROMOTION_FAILED"),
        ([STARTED, STOPPED], (STOPPED[0], STOPPED[1] | {"stopped_at": "2027-01-01T00:00:00Z"}), "STOPPED -> STOPPED"),
        ([STARTED, STOPPED], (STARTED[0], STARTED[1] | {"started_at": "2027-01-01T00:00:00Z"}), "STOPPED -> ACTIVE"),
    ],
)
def test_what_does_not_follow_is_refused_with_both_states_and_changes_nothing(database, sink, before, event, states):
    apply_all(sink, events(*before))
    stood = rows(database)

    with pytest.raises(InvalidTransition, match=states):
        apply_all(sink, events(event, first=len(before) + 1))
    assert stood == rows(database)


@pytest.mark.parametrize(
    ("before", "event", "field"),
    [
        ([STARTED], FLUSHED, "pcm_path"),
        ([STARTED, FLUSHED, BEGUN], DONE, "mp3_path"),
        ([STARTED, FLUSHED, BEGUN, DONE, STOPPED], PROMOTED, "filename"),
    ],
)
@pytest.mark.parametrize(
    "path", ["../../etc/passwd", "/etc/passwd", "", "mp3/m/u/00000001.mp3", "recordings/m/../m/meeting-r1.mp3"]
)
def test_a_path_that_is_not_that_of_the_ids_is_refused(database, sink, before, event, field, path):
    apply_all(sink, events(*before))
    stood = rows(database)
    type, data = event

    with pytest.raises(InvalidEvent, match=f"data.{field}: is not {data[field]}, the place that its ids give"):
        apply_all(sink, events((type, data | {field: path}), first=len(before) + 1))
    assert stood == rows(database)


@pytest.mark.parametrize("again", [STARTED, FLUSHED, DONE])
def test_an_event_that_was_appended_twice_changes_nothing(database, sink, again):
    apply_all(sink, events(STARTED, FLUSHED, BEGUN, DONE))
    before = rows(database)[1]
    apply_all(sink, events(again, first=10))

    assert before == rows(database)[1]


def test_failures_are_followed_by_another_attempt_or_the_end(database, sink):
    apply_all(sink, events(STARTED, FLUSHED, BEGUN, FAILED, STOPPED, UNPROMOTED))
    (meeting,), (chunk,), _ = rows(database)
    apply_all(sink, events(BEGUN, DONE, PROMOTED, first=7))

    assert ("PROMOTION_FAILED", "nothing") == (meeting.status, meeting.problem)
    assert ("FAILED", "E: broken") == (chunk.transcode_status, chunk.error)
    assert "PROMOTED" == rows(database)[0][0].status


def test_an_expired_chunk_is_gone(database, sink):
    apply_all(sink, events(STARTED, FLUSHED, BEGUN, EXPIRED))

    assert [] == rows(database)[1]


@pytest.mark.parametrize(
    "recorded",
    [events(STARTED, subject="meeting/other"), events(("meeting.started", {})), events(("chunk.flushed", CHUNK))],
)
def test_what_is_no_such_event_is_refused(sink, recorded):
    with pytest.raises(InvalidEvent):
        sink.apply(batch(recorded))
