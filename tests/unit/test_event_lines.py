"""JSON lines of `playhead append`, and that each door takes the same JSON."""

import json

import msgspec
import pytest

from playhead.commands.event_lines import event_of
from playhead.eventlog.lines import decode_line, encode_line
from playhead.streams.entries import RawEntry, decode, encode
from playhead.streams.errors import InvalidEvent
from playhead.streams.events import Event, Recorded, check, new_event
from playhead.streams.positions import Position

LINE = {"type": "job.completed", "subject": "job/s", "time": "2025-08-09T06:36:58Z", "id": "1", "data": {"job_id": "s"}}
MARK = b"\xef\xbb\xbf"
EXTENSIONS = {"retries": 5, "urgent": True, "calm": False, "low": -(2**31), "high": 2**31 - 1, "zero": 0, "text": "5"}


def line(**changed: object) -> bytes:
    return json.dumps(LINE | changed).encode()


def through_redis(event: Event) -> Recorded:
    fields = [one.encode() if isinstance(one, str) else one for one in encode(event)]
    return decode(RawEntry(b"5-1", fields))


def test_the_lines_of_the_reports_are_taken():
    surrogate = rb'{"type":"job.completed","subject":"job/s","data":{"job_id":"s","job":{},"result":"cut \ud83d"}}'
    lower_case = b'{"type":"job.completed","subject":"job/l","time":"2025-08-09t06:36:58z","data":{"job_id":"l"}}'
    integer = b'{"type":"job.completed","subject":"job/e","retries":5,"data":{"job_id":"e","job":{},"result":1}}'
    marked = MARK + b'{"type":"job.completed","subject":"job/b","data":{"job_id":"b","job":{},"result":1}}'

    assert rb'{"job_id":"s","job":{},"result":"cut \ud83d"}' == event_of(surrogate).data
    assert "2025-08-09T06:36:58.000000Z" == event_of(lower_case).time
    assert {"retries": 5} == event_of(integer).extensions
    assert b'{"job_id":"b","job":{},"result":1}' == event_of(marked).data


@pytest.mark.parametrize(
    "data",
    [
        r'{"job_id":"s","result":"\ud800"}',
        r'{"job_id":"s","\uDFFF":"\uDBFF","n":[1.10,-0,1E5,123456789012345678901234567890]}',
        r'{"job_id":"s","result":"\udc00\ud800 \u00e9","é":"\ud83d\ude00"}',
    ],
)
def test_a_lone_surrogate_goes_the_same_way_through_every_door(data):
    event = event_of(line().replace(b'{"job_id": "s"}', data.encode()))
    recorded = through_redis(event)
    printed = encode_line(recorded)

    assert data.encode() == event.data == recorded.event.data == new_event("t", subject="s", data=data.encode()).data
    assert json.loads(data) == json.loads(new_event("t", subject="s", data=json.loads(data)).data)
    assert recorded == decode_line(printed)
    assert recorded.event == event_of(printed)


@pytest.mark.parametrize("name", ["id", "subject", "source", "type", "extension"])
def test_a_lone_surrogate_in_an_attribute_is_refused_with_its_name(name):
    with pytest.raises(InvalidEvent, match="lone surrogate") as refused:
        event_of(line(**{name: "\ud83d"}))

    assert name in str(refused.value)


def test_extensions_that_are_numbers_or_booleans_come_out_as_they_went_in():
    event = event_of(line(**EXTENSIONS))
    recorded = through_redis(event)
    printed = encode_line(recorded)

    assert EXTENSIONS == event.extensions == recorded.event.extensions
    assert {name: type(value) for name, value in EXTENSIONS.items()} == {
        name: type(value) for name, value in recorded.event.extensions.items()
    }
    assert EXTENSIONS.items() <= json.loads(printed)["event"].items()
    assert recorded == decode_line(printed)
    assert recorded.event == event_of(printed)
    assert event == msgspec.json.decode(msgspec.json.encode(event), type=Event)


def test_a_field_of_redis_is_text_and_one_field_says_which_are_none():
    fields = encode(event_of(line(retries=5, urgent=True, text="5")))
    values = dict(zip(fields[::2], fields[1::2], strict=True))

    assert ("5", "true", "5") == (values["ce_retries"], values["ce_urgent"], values["ce_text"])
    assert b'{"retries":"integer","urgent":"boolean"}' == values["extension_types"]
    assert "extension_types" not in encode(event_of(line(text="5")))


@pytest.mark.parametrize(
    ("types", "extensions"),
    [
        (b'{"retries":"integer"}', {"retries": 5}),
        (b'{"retries":"boolean","other":"integer"}', {"retries": "5"}),
        (b'{"retries":"float"}', {"retries": "5", "field_extension_types": '{"retries":"float"}'}),
        (b"nonsense", {"retries": "5", "field_extension_types": "nonsense"}),
    ],
)
def test_what_another_client_writes_there_loses_nothing(types, extensions):
    fields = [one.encode() if isinstance(one, str) else one for one in encode(event_of(line(retries="5")))]

    assert extensions == decode(RawEntry(b"5-1", [b"extension_types", types, *fields])).event.extensions


@pytest.mark.parametrize("value", ["05", "+5", "-0", " 5", "5.0", "true ", "True", "99999999999", ""])
def test_a_value_that_is_not_written_as_its_type_is_text(value):
    fields = [one.encode() if isinstance(one, str) else one for one in encode(event_of(line(x="y")))]
    fields[fields.index(b"ce_x") + 1] = value.encode()

    for types in (b'{"x":"integer"}', b'{"x":"boolean"}'):
        assert {"x": value} == decode(RawEntry(b"5-1", [b"extension_types", types, *fields])).event.extensions


@pytest.mark.parametrize("value", ["2147483648", "-2147483649", "1.5", "5.0", "1e2", "9" * 5000, "{}", "[1]"])
def test_an_extension_that_no_cloudevent_may_have_is_refused_with_its_name(value):
    with pytest.raises(InvalidEvent, match="retries"):
        event_of(line(retries="?").replace(b'"?"', value.encode()))


@pytest.mark.parametrize("value", [1.5, None, 2**31, ["x"], b"x"])
def test_an_extension_from_python_is_checked_in_the_same_way(value):
    with pytest.raises(InvalidEvent, match="retries"):
        check(
            Event(
                id="1",
                source="s",
                type="t",
                time="2025-08-09T06:36:58Z",
                subject="s",
                data=b"{}",
                extensions={"retries": value},
            )
        )


@pytest.mark.parametrize("name", ["id", "source", "type", "subject", "time", "dataschema", "traceparent"])
@pytest.mark.parametrize("value", [5, True])
def test_an_attribute_that_must_be_text_is_refused_with_its_name(name, value):
    with pytest.raises(InvalidEvent) as refused:
        event_of(line(**{name: value}))

    assert name == refused.value.field


@pytest.mark.parametrize("name", ["id", "source", "time", "dataschema", "retries", "sequence"])
def test_null_is_no_attribute(name):
    assert {} == event_of(line(**{name: None})).extensions


@pytest.mark.parametrize("name", ["type", "subject"])
def test_a_line_without_a_type_or_subject_is_refused(name):
    with pytest.raises(InvalidEvent, match=f"{name}: is missing"):
        event_of(line(**{name: None}))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"{", "line"),
        (b"[]", "no JSON object"),
        (b'"\\ud800"', "no JSON object"),
        (b'{"type":"t","subject":"s","data":{"a":NaN}}', "NaN"),
        (b'{"type":"t","subject":"s","data":{"a":"\\ud800"},}', "line"),
        (b'{"type":"t","subject":"s"}', "data: is missing"),
        (LINE["id"].encode("utf-16"), "iconv"),
        (json.dumps(LINE).encode("utf-16-le"), "iconv"),
        (json.dumps(LINE).encode("utf-16-be"), "iconv"),
        (b'{"position":"1-0","crc32c":"00000000","event":{"specversion":"1.0"}}', "not as the log has it"),
    ],
)
def test_what_is_no_event_is_refused(text, problem):
    with pytest.raises(InvalidEvent, match=problem):
        event_of(text)


def test_an_imported_event_of_the_log_stays_one():
    imported = Recorded(
        new_event("t", subject="s", data={}, time="2020-01-01T00:00:00Z", imported="run"), Position(5, 0)
    )
    printed = encode_line(imported)

    assert imported.event == event_of(printed)
    assert imported.event == event_of(json.dumps(json.loads(printed)["event"] | {"data": {}}).encode())
