"""Whatever stands in an entry, a line of the log or a payload: a decoder gives a value or says that it is invalid."""

import contextlib

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from playhead.consumers.reading.ahead import decoded
from playhead.consumers.reading.parked import REFUSED, Aside, parked_fields
from playhead.eventlog.errors import BadLine
from playhead.eventlog.lines import decode_line, event_id_of, position_if_readable
from playhead.projections.content.captured import decode_captured
from playhead.projections.jobs.result import decode_job, decode_job_result
from playhead.streams.entries import RawEntry, sequence_of, subject_of
from playhead.streams.errors import InvalidEvent
from playhead.streams.events import Event, Recorded
from playhead.streams.members import decode_members
from playhead.streams.recordings.events import ChunkFlushed, MeetingStarted, read_payload

HUGE = b"9" * 5000
FIELDS = (
    "specversion",
    "id",
    "source",
    "type",
    "time",
    "subject",
    "sequence",
    "crc32c",
    "position",
    "replay",
    "imported",
)
GOOD = {
    b"ce_id": b"1",
    b"ce_source": b"s",
    b"ce_type": b"job.completed",
    b"ce_time": b"2025-08-09T06:36:59Z",
    b"ce_subject": b"job/1",
    b"body": b"{}",
}
VALUES = st.one_of(
    st.binary(max_size=40),
    st.text(max_size=20).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.integers().map(lambda number: str(number).encode()),
    st.sampled_from(
        [b"", b"\0", HUGE, b"-" + HUGE, b"1-1", HUGE + b"-0", b"0-" + HUGE, b"1e999", b"NaN", b"\xff", b"9999-99-99"]
    ),
)
JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers().map(str).map(str.encode),
        st.sampled_from([b"NaN", b"1e999", b'"\\ud800"', b'"\\u0000"', HUGE, b"[" * 3000 + b"]" * 3000]),
        st.text(max_size=10),
    ),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
MANY = settings(max_examples=400, deadline=None, database=None)


def write(value: object) -> bytes:
    """JSON, but for the raw pieces in it."""
    match value:
        case bytes():
            return value
        case None:
            return b"null"
        case bool():
            return b"true" if value else b"false"
        case str():
            return b'"' + value.encode("utf-8", "surrogatepass").replace(b'"', b"") + b'"'
        case list():
            return b"[" + b",".join(map(write, value)) + b"]"
        case dict():
            return b"{" + b",".join(write(name) + b":" + write(one) for name, one in value.items()) + b"}"
    raise AssertionError(value)


@MANY
@given(st.dictionaries(st.sampled_from([*(f"ce_{name}".encode() for name in FIELDS), b"body"]) | st.binary(), VALUES))
@example({b"ce_sequence": HUGE})
@example({b"ce_position": HUGE + b"-0"})
@example({b"ce_position": b"x"})
def test_an_entry_is_an_event_or_invalid(changes):
    fields = [part for pair in (GOOD | changes).items() for part in pair]
    entry = RawEntry(b"1-1", fields)

    assert isinstance(decoded(entry), Recorded | InvalidEvent)
    subject_of(entry)
    sequence_of(entry)


@MANY
@given(
    st.one_of(
        VALUES,
        JSON.map(write),
        st.dictionaries(st.sampled_from(["position", "crc32c", "event", "sequence", "x"]), JSON).map(write),
    )
)
@example(b'{"position":"1-1","crc32c":"00000000","event":{"specversion":"1.0","id":"\xff\\""')
def test_a_line_of_the_log_is_an_event_or_bad(line):
    for read in (decode_line, event_id_of):
        with contextlib.suppress(BadLine, InvalidEvent):
            read(line)
    position_if_readable(line)


NAMES = [
    "job_id",
    "job",
    "status",
    "result",
    "error",
    "completed_at",
    "content",
    "metadata",
    "created_at",
    "meeting_id",
]


@MANY
@given(st.one_of(VALUES, JSON.map(write), st.dictionaries(st.sampled_from(NAMES), JSON).map(write)))
@example(b'{{"job_id":"1"}:"\\ud800"}')
@example(b'{"content":{"sha256":%b}}' % (b"[" * 2000 + b"]" * 2000))
@example(b'{"content":"\xff"}')
@example(b"{%b:1}" % (b"[" * 2000 + b"]" * 2000))
@example(b'{"job_id":"1","job":{"created_at":"\xcd","metadata":7},"result":"\xff"}')
def test_a_payload_is_one_or_invalid(data):
    event = Event(id="1", source="s", type="job.completed", time="2025-08-09T06:36:59Z", subject="job/1", data=data)
    for decode in (
        lambda event: decode_job_result(event.data),
        decode_captured,
        lambda event: read_payload(event, ChunkFlushed),
        lambda event: read_payload(event, MeetingStarted),
    ):
        with contextlib.suppress(InvalidEvent):
            decode(event)


@MANY
@given(st.one_of(VALUES, JSON.map(write), st.dictionaries(st.sampled_from(NAMES), JSON).map(write)))
@example(b'{"job_id":"1","job":{"created_at":"2025","metadata":{"scraper_id":7}},"retry_count":"x"}')
@example(b'{"job_id":"1","job":{"created_at":[],"metadata":{"scraper_id":"\\ud800"}}}')
@example(b'{"job_id":"1","result":"\xff"}')
def test_which_job_a_payload_is_of_is_read_alike_from_its_bytes_and_from_its_members(data):
    assert _job(lambda: decode_job_result(data)) == _job(lambda: decode_job(decode_members(data)))


def _job(decode):
    try:
        found = decode()
    except InvalidEvent as error:
        return str(error)
    return found.job_id, found.scraper_id, found.created_at


LONG = b"x" * 10_000_000


@pytest.mark.parametrize("name", ["id", "source", "type", "time", "subject", "dataschema", "traceparent", "anything"])
def test_what_append_would_refuse_as_too_long_is_refused_in_an_entry_of_any_client(name):
    entry = RawEntry(b"1-1", [part for pair in (GOOD | {f"ce_{name}".encode(): LONG}).items() for part in pair])
    refused = decoded(entry)

    assert isinstance(refused, InvalidEvent)
    assert f"ce_{name}: is 10000000 bytes long; 4096 characters is the limit" == str(refused)


def test_the_name_of_a_field_has_a_limit_too():
    refused = decoded(RawEntry(b"1-1", [part for pair in (GOOD | {LONG: b"1"}).items() for part in pair]))

    assert isinstance(refused, InvalidEvent)
    assert 200 > len(str(refused))


@pytest.mark.parametrize("text", ["é" * 4096, "🎧" * 4096])
def test_the_limit_is_one_of_characters_as_in_append(text):
    entry = RawEntry(b"1-1", [part for pair in (GOOD | {b"ce_subject": text.encode()}).items() for part in pair])

    assert isinstance(decoded(entry), Recorded)
    assert text == subject_of(entry)


def test_a_subject_that_no_event_can_have_is_none():
    assert subject_of(RawEntry(b"1-1", [b"ce_subject", LONG])) is None


@pytest.mark.parametrize("long", [{b"ce_time": LONG}, {LONG: b"1"}, {b"ce_source": "🎧".encode() * 5000}])
def test_only_the_log_parks_what_is_too_long_as_a_whole(long):
    entry = RawEntry(b"1-1", [part for pair in (GOOD | long).items() for part in pair])
    _, whole = parked(entry, "log")
    reason, kept = parked(entry, "jobs")

    assert entry.fields == whole
    assert "reason; only the log's parked entry has all of it" == reason
    assert 40_000 > sum(map(len, kept))
    assert isinstance(decoded(RawEntry(b"1-1", kept)), InvalidEvent)  # a retry never takes a part for the whole


def test_a_large_body_is_parked_as_a_whole_by_all():
    entry = RawEntry(b"1-1", [part for pair in (GOOD | {b"body": LONG}).items() for part in pair])

    assert ("reason", entry.fields) == parked(entry, "jobs")


def parked(entry, consumer):
    """The reason, and the fields of the event, of the parked entry that a consumer makes."""
    fields = parked_fields(Aside(entry, "reason", REFUSED), consumer, blocks=True)
    about = dict(zip(fields[:8:2], fields[1:8:2], strict=True))
    return about["parked_reason"], fields[8:]
