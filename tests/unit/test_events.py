import pytest
from hypothesis import given
from hypothesis import strategies as st

from playhead.streams.entries import RawEntry, decode, encode
from playhead.streams.errors import EventTooLarge, InvalidEvent
from playhead.streams.events import (
    Event,
    Recorded,
    check,
    check_json,
    encode_data,
    format_time,
    new_event,
    parse_date_or_time,
    parse_time,
)
from playhead.streams.positions import Order, Position

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=50)


def as_entry(fields: list[str | bytes], entry_id: bytes = b"5-1") -> RawEntry:
    return RawEntry(entry_id, [field.encode() if isinstance(field, str) else field for field in fields])


@given(subject=TEXT, source=TEXT, extension=st.from_regex("x[a-z0-9]{1,18}", fullmatch=True), value=TEXT)
def test_an_event_comes_out_of_its_entry_as_it_went_in(subject, source, extension, value):
    extensions = {extension: value, f"field_{extension}": value}
    event = Event(
        id="a",
        source=source,
        type="t",
        time="2025-08-09T06:36:58.2Z",
        subject=subject,
        data=b"{}",
        extensions=extensions,
    )

    recorded = decode(as_entry(encode(event)))

    assert event == recorded.event
    assert Position(5, 1) == recorded.position


@pytest.mark.parametrize("data", [b"{", b"NaN", b'{"a": NaN}', b"\xff", b"", b"[" * 100_000])
def test_what_is_not_json_is_refused_with_the_field_named(data):
    with pytest.raises(InvalidEvent) as refused:
        check_json(data)

    assert refused.value.field == "data"


def test_a_lone_surrogate_escape_is_json():
    check_json(b'{"result": "\\ud800"}')


def test_nan_in_data_is_refused_rather_than_turned_into_null():
    with pytest.raises(InvalidEvent):
        encode_data({"x": float("nan")})


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("2025-08-09t06:36:58z", "2025-08-09T06:36:58.000000Z"),
        ("2025-08-09T06:36:58z", "2025-08-09T06:36:58.000000Z"),
        ("2025-08-09t06:36:58Z", "2025-08-09T06:36:58.000000Z"),
        ("2025-08-09t06:36:58.2z", "2025-08-09T06:36:58.200000Z"),
        ("2025-08-09t08:36:58+02:00", "2025-08-09T06:36:58.000000Z"),
        ("2025-08-09 06:36:58", "2025-08-09T06:36:58.000000Z"),
        ("2025-08-09T06:36:58-00:00", "2025-08-09T06:36:58.000000Z"),
        ("2025-08-09T00:00:00+23:59", "2025-08-08T00:01:00.000000Z"),
        ("2025-08-09T06:36:58.1234569Z", "2025-08-09T06:36:58.123456Z"),
        ("2025-08-09T06:36:58.999999999999999999999Z", "2025-08-09T06:36:58.999999Z"),
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00.000000Z"),
        ("2016-12-31t23:59:60.5z", "2017-01-01T00:00:00.500000Z"),
        ("2017-01-01T01:59:60+02:00", "2017-01-01T00:00:00.000000Z"),
        ("1990-12-31T15:59:60-08:00", "1991-01-01T00:00:00.000000Z"),
    ],
)
def test_a_time_may_be_written_in_every_way_of_rfc_3339(written, read):
    event = new_event("t", subject="s", data={}, time=written)

    check(event)
    assert read == event.time == format_time(parse_date_or_time(written))


@pytest.mark.parametrize(
    "written",
    [
        "2025-08-09T24:00:00Z",
        "2025-08-09T06:36:60Z",
        "2025-08-09T23:59:60+02:00",
        "2025-08-09T23:59:61Z",
        "9999-12-31T23:59:60Z",
        "9999-12-31T23:59:59-01:00",
        "0001-01-01T00:00:00+01:00",
        "0000-01-01T00:00:00Z",
        "2025-02-29T00:00:00Z",
        "2025-08-09T06:36:58+24:00",
        "2025-08-09T06:36:58+0200",
        "2025-08-09T06:36:58+02",
        "2025-08-09T06:36:58,5Z",
        "2025-08-09T06:36:58.Z",
        "2025-08-09T06:36Z",
        "20250809T063658Z",
        "2025-W32-6T06:36:58Z",
        "2025-08-09T06:36:58Z\n",
        "\N{ARABIC-INDIC DIGIT TWO}025-08-09T06:36:58Z",
        "2025-08-09",
        "",
    ],
)
def test_what_is_not_rfc_3339_is_no_time(written):
    with pytest.raises(InvalidEvent, match="time"):
        parse_time(written)


def test_a_date_alone_is_its_midnight_in_utc_where_a_payload_or_an_option_has_it():
    assert parse_time("2025-08-09T00:00:00Z") == parse_date_or_time("2025-08-09")
    with pytest.raises(InvalidEvent):
        parse_date_or_time("2025-02-29")


@pytest.mark.parametrize(
    ("field", "change"),
    [("subject", {"subject": ""}), ("id", {"id": ""}), ("time", {"time": "yesterday"}), ("type", {"type": ""})],
)
def test_check_names_the_field_that_is_wrong(field, change):
    attributes = {"id": "a", "source": "s", "type": "t", "time": "2025-08-09T06:36:58Z", "subject": "x", "data": b"{}"}

    with pytest.raises(InvalidEvent) as refused:
        check(Event(**attributes | change))

    assert field == refused.value.field


def test_an_event_over_the_limit_is_refused():
    event = new_event("t", subject="s", data={"x": "y" * 10})

    with pytest.raises(EventTooLarge):
        check(event, size_limit=len(event.data) - 1)
    check(event, size_limit=len(event.data))


def test_an_altered_body_is_found_by_its_checksum():
    fields = encode(new_event("t", subject="s", data={"x": 1}))
    fields[-1] = b'{"x":2}'

    with pytest.raises(InvalidEvent, match="checksum"):
        decode(as_entry(fields))


def test_positions_compare_as_numbers():
    assert Position.parse("1000-9") < Position.parse("1000-10")


@given(st.lists(st.tuples(st.integers(0, 10**14), st.integers(0, 99), st.integers(0, 10**14)), min_size=2))
def test_the_text_of_an_order_sorts_like_the_order(values):
    orders = [Order(a, b, Position(c, 0)) for a, b, c in values]

    assert sorted(orders) == [Order.parse(text) for text in sorted(str(order) for order in orders)]


def test_an_imported_event_yields_to_a_later_one_of_its_subject():
    live = Recorded(new_event("t", subject="s", data={}), Position(1_700_000_000_000, 0))
    imported = Recorded(
        new_event("t", subject="s", data={}, time="2020-01-01T00:00:00Z", imported="run"),
        Position(1_800_000_000_000, 0),
    )

    assert imported.order < live.order


@pytest.mark.parametrize("time", ["9999-12-31T23:59:59.999999Z", "0001-01-01T00:00:00Z", "1969-12-31T23:59:59Z"])
def test_an_imported_event_of_an_impossible_time_yields_to_what_comes_after_it(time):
    arrived = Position(1_700_000_000_000, 3)
    imported = Recorded(new_event("t", subject="s", data={}, time=time, imported="run"), arrived)
    later = Recorded(new_event("t", subject="s", data={}), Position(1_700_000_000_001, 0))

    assert imported.order < later.order
    assert str(imported.order) < str(later.order)
    assert imported.order == Order.parse(str(imported.order))
