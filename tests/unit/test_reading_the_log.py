"""EventLog: what a program reads from the log, and how it continues."""

import subprocess
import sys
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from playhead import Cursor, EventLog, InvalidEvent, LogCorrupt, PayloadInvalid, subscribe
from playhead.eventlog.writer import LogWriter
from playhead.streams.domains.event_types import Stream
from playhead.streams.errors import InvalidSetting
from playhead.streams.events import Recorded, new_event
from playhead.streams.partitions import Partition
from playhead.streams.positions import Position
from playhead.streams.sinks import Batch, Source

bills = Stream("bills")
JOBS, BILLS = Partition("jobs", 0), Partition("bills", 0)
NOON = 1_754_740_800_000
"""Milliseconds of 2025-08-09T12:00:00Z."""


@bills.event("bill.paid", version=2, subject="bill/{number}")
class BillPaid(msgspec.Struct, frozen=True):
    number: int
    cents: int


@bills.event("bill.sent", subject="bill/{number}")
class BillSent(msgspec.Struct, frozen=True):
    number: int


@bills.upcaster("bill.paid", version=1)
def _(data):
    return {"number": data["number"], "cents": data["euros"] * 100}


def event(number, type="job.completed", data=None, subject=None, dataschema=None):
    moment = datetime.fromtimestamp(NOON / 1000 + number, UTC)
    recorded = new_event(
        type, subject=subject or f"s/{number % 3}", data=data or {"n": number}, id=f"e{number}", time=moment
    )
    return Recorded(msgspec.structs.replace(recorded, dataschema=dataschema), Position(NOON + number, 0), number)


def write(root, events, partition=JOBS, segment_bytes=1 << 30):
    log = LogWriter(root, segment_bytes=segment_bytes)
    log.open(partition, 1)
    for each in events:
        log.apply(Batch(Source(partition), [each], each.position))
    log.close()


def ids(events):
    return [received.event.id for received in events]


def test_partitions_come_merged_by_time(tmp_path):
    write(tmp_path, [event(1), event(4)])
    write(tmp_path, [event(2, "bill.sent"), event(3, "bill.sent"), event(5, "bill.sent")], BILLS)

    received = list(EventLog.open(tmp_path).read())

    assert ["e1", "e2", "e3", "e4", "e5"] == ids(received)
    assert [JOBS, BILLS, BILLS, JOBS, BILLS] == [each.partition for each in received]


@settings(deadline=None, max_examples=30)
@given(st.lists(st.sampled_from([JOBS, BILLS, Partition("jobs", 1)]), min_size=1, max_size=12), st.data())
def test_reading_behind_any_cursor_gives_the_rest_in_the_same_order(tmp_path_factory, order, data):
    root = tmp_path_factory.mktemp("log")
    for partition in set(order):
        write(root, [event(n) for n, where in enumerate(order) if where == partition], partition, segment_bytes=600)
    log = EventLog.open(root)
    whole = list(log.read())
    index = data.draw(st.integers(0, len(whole) - 1))

    assert ids(whole)[index + 1 :] == ids(log.read(after=whole[index].cursor))
    assert ids(whole)[index + 1 :] == ids(log.read(after=str(whole[index].cursor)))
    assert whole[-1].cursor == log.end()


def test_type_subject_stream_and_time_choose(tmp_path):
    write(tmp_path, [event(n, ["job.completed", "job.failed"][n % 2]) for n in range(6)])
    write(tmp_path, [event(9, "bill.sent")], BILLS)
    log = EventLog.open(tmp_path)

    assert ["e1", "e3", "e5"] == ids(log.read(type="job.failed"))
    assert ["e1", "e3", "e5", "e9"] == ids(log.read(type=["job.failed", "bill.sent"]))
    assert ["e1", "e4"] == ids(log.read(subject="s/1"))
    assert ["e9"] == ids(log.read(stream="bills"))
    assert ["e4", "e5"] == ids(log.read(since="2025-08-09T12:00:04Z", until=datetime(2025, 8, 9, 12, 0, 6)))  # noqa: DTZ001  # naive is UTC
    assert [] == ids(log.read(since="2025-08-10"))


def test_a_payload_of_an_older_version_is_read_as_the_one_of_today(tmp_path):
    paid = [
        event(1, "bill.paid", {"number": 7, "euros": 3}, dataschema="bill.paid/1"),
        event(2, "bill.paid", {"number": 8, "cents": 450}, dataschema="bill.paid/2"),
    ]
    write(tmp_path, [*paid, event(3, "bill.sent", {"number": 9})], BILLS)
    log = EventLog.open(tmp_path)

    assert [BillPaid(7, 300), BillPaid(8, 450)] == [received.data for received in log.read(type=BillPaid)]
    both = [received.data for received in log.read(type=[BillPaid, BillSent])]
    assert [BillPaid(7, 300), BillPaid(8, 450), BillSent(9)] == both
    assert paid[0].event == next(log.read(type=BillPaid)).event, "the event is as it was written"
    assert None is next(log.read(type="bill.paid")).data


def test_a_payload_of_another_form_is_an_error_that_says_how_to_continue(tmp_path):
    write(tmp_path, [event(1, "bill.sent", {"number": "x"}), event(2, "bill.sent", {"number": 2})], BILLS)
    log = EventLog.open(tmp_path)

    with pytest.raises(PayloadInvalid, match=r"valid BillSent.*bill.sent e1 at 1754740800001-0 of bills/0") as raised:
        list(log.read(type=BillSent))

    assert ["e2"] == ids(log.read(type=BillSent, after=raised.value.cursor))


def test_damage_says_where_and_what_was_before_it_was_given(tmp_path):
    write(tmp_path, [event(1), event(2), event(3)])
    (path,) = tmp_path.glob("jobs/0/*.jsonl")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[1].replace(b'"n":2', b'"n":7') + lines[2])
    received = EventLog.open(tmp_path).read()

    assert "e1" == next(received).event.id
    with pytest.raises(LogCorrupt) as raised:
        next(received)
    assert (path, 2, Position(NOON + 2, 0)) == (raised.value.file, raised.value.line, raised.value.position)


@pytest.mark.parametrize(
    ("selection", "says"),
    [
        ({"stream": "jbos"}, "there is no stream 'jbos'; there are jobs"),
        ({"stream": ["jobs", "jbos"]}, "there is no stream 'jbos'"),
        ({"stream": []}, "no stream is named"),
        ({"since": "yesterday"}, "since takes a datetime, a date or an RFC 3339 time"),
        ({"after": "jobs/0@7"}, "'jobs/0@7' is not part of a cursor such as jobs/0@1754541721120-0"),
    ],
)
def test_what_cannot_be_read_is_refused_before_anything_is(tmp_path, selection, says):
    with pytest.raises(InvalidSetting, match=says):
        EventLog.open(tmp_path).read(**selection)


@pytest.mark.parametrize("logged", [True, False])
@pytest.mark.parametrize("stream", ["jbos", ["jobs", "jbos"], []])
def test_a_subscription_refuses_a_stream_for_which_it_would_wait_forever(tmp_path, logged, stream):
    with pytest.raises(InvalidSetting, match="no stream"):
        subscribe("redis://localhost", log=tmp_path if logged else None, stream=stream)


def test_a_stream_that_only_the_log_knows_can_be_read_and_subscribed_to(tmp_path):
    write(tmp_path, [event(1)], partition=BILLS)

    assert ["e1"] == ids(EventLog.open(tmp_path).read(stream="bills"))
    subscribe("redis://localhost", log=tmp_path, stream="bills").close()


def test_a_struct_that_nobody_declared_is_refused(tmp_path):
    with pytest.raises(InvalidEvent, match="Cursor is not declared as an event"):
        EventLog.open(tmp_path).read(type=Cursor)


def test_a_directory_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InvalidSetting, match="an empty path is no directory"):
        EventLog.open("")
    with pytest.raises(InvalidSetting, match="missing is no directory"):
        EventLog.open(tmp_path / "missing")


def test_a_cursor_is_its_text_and_back():
    cursor = Cursor({JOBS: Position(5, 7), Partition("content", 12): Position(1754541721120, 0)})

    assert "content/12@1754541721120-0 jobs/0@5-7" == str(cursor)
    assert cursor == Cursor.parse(str(cursor))
    assert Cursor() == Cursor.parse("")


def test_many_segments_are_read_in_bounded_memory(tmp_path):
    content = "x" * 100_000
    log = LogWriter(tmp_path, segment_bytes=4_000_000)
    log.open(JOBS, 1)
    for start in range(0, 1200, 20):
        events = [event(n, data={"n": n, "content": f"{content}{n}"}) for n in range(start, start + 20)]
        log.apply(Batch(Source(JOBS), events, events[-1].position))
    log.close()
    assert len(list(tmp_path.glob("jobs/0/*.zst"))) > 20
    program = (
        "import resource, sys; from playhead import EventLog\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "assert 1200 == sum(1 for _ in EventLog.open(sys.argv[1]).read())\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    done = subprocess.run([sys.executable, "-c", program, tmp_path], capture_output=True, check=True, text=True)

    assert int(done.stdout) < 60_000, "KiB, of 120 MB that were read"
