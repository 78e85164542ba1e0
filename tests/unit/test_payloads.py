"""Large payloads in pieces are the same bytes, and are held to the same rules, as in one."""

import gc
import json
import sys
import time

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from playhead.streams import payloads
from playhead.streams.errors import InvalidEvent
from playhead.streams.events import check_json, encode_data
from playhead.streams.payloads import check_in_pieces, encode_in_pieces, encode_text, is_large

PIECE = payloads._PIECE
MANY = [{"a": n, "b": "x" * 20, "c": {"d": [n, None]}} for n in range(50_000)]
TEXT = st.text(st.characters(exclude_categories=[]), max_size=60)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXT | st.datetimes() | st.uuids()
NESTED = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(TEXT, inner) | st.dictionaries(st.integers(), inner)
    ),
    max_leaves=60,
)


class Note(msgspec.Struct, frozen=True, rename={"text": "words"}):
    text: str
    lines: list[object]


@pytest.fixture(autouse=True, scope="module")
def small_pieces():
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(payloads, "_PIECE", 50)
        yield


@pytest.fixture
def pieces(small_pieces, monkeypatch):
    monkeypatch.setattr(payloads, "_PIECE", PIECE)


def outcome(function, *arguments):
    try:
        return function(*arguments)
    except InvalidEvent as error:
        return error.field, error.problem


def verdict(check, data):
    try:
        check(data)
    except InvalidEvent:
        return False
    return True


@given(NESTED)
@example({1: "x" * 100, "1": "y"})
@example({"a": [float("nan")] * 50})
@example({"a": ["\ud800"] * 50})
@example([[], {}, "", [[[["x" * 200]]]], {"x" * 200: {}}])
@example(Note("x" * 200, [{"a": "b"}] * 20))
@example({"note": Note("x" * 200, [1.5] * 40)})
@example({"set": {1}, "bytes": b"x" * 100, "object": object()})
def test_a_payload_written_in_pieces_is_the_same_bytes_or_the_same_error(data):
    assert outcome(encode_data, data) == outcome(encode_in_pieces, data)


def test_what_contains_itself_is_refused():
    endless: list[object] = ["x" * 100]
    endless.append(endless)

    with pytest.raises(InvalidEvent, match="data"):
        encode_in_pieces(endless)


@given(NESTED, st.sampled_from([None, 1]), st.data())
def test_json_is_accepted_in_pieces_just_where_it_is_as_a_whole_however_it_is_damaged(data, indent, draw):
    try:
        text = json.dumps(msgspec.to_builtins(data), indent=indent, ensure_ascii=False).encode("utf-8", "surrogatepass")
    except TypeError:
        return
    at = draw.draw(st.integers(0, len(text)))
    damaged = text[:at] + draw.draw(st.binary(max_size=2)) + text[at + draw.draw(st.integers(0, 2)) :]

    for whole in (text, damaged):
        assert verdict(check_json, whole) == verdict(check_in_pieces, whole)


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "1", "-0", "01", "1.", "1e5", "1e", "+1", "tru", "true", "nul", "NaN", "Infinity", "'a'"),
        *('"a', '"\\x"', '"\\ud800"', '"\t"', "[", "]", "[]", "[ ]", "[1,]", "[,1]", "[1 2]"),
        *("[1,2]]", "[1}", "{", "{}", "{ }", '{"a"}', '{"a":}', '{"a":1,}', '{"a":1 "b":2}'),
        *("{1:2}", '{"a":[{"b":[[1,{"c":[]}]]}]}', "[[[[[]]]]]", "[] []", "\ufeff1", "[1]\u0000"),
        *('{"a":1,"a":2}', '"\u007f\u2028"'),
        *("[" * 250 + "]" * 250, "[" * 100_000, "9" * 500, " " * 500 + "1" + " " * 500, "[" + "1," * 500 + "]"),
        *("[" + "1," * 500 + "1]", '["' + "x" * 500 + '"]', '"' + "\\n" * 300 + '"', '"' + "x" * 49 + '\\"' + '"'),
    ],
    ids=lambda text: repr(text[:20]),
)
def test_edges_of_json(text):
    data = text.encode()

    assert verdict(check_json, data) == verdict(check_in_pieces, data)


@given(st.binary(max_size=200))
def test_no_bytes_are_accepted_that_are_not_json(data):
    assert verdict(check_json, data) == verdict(check_in_pieces, data)


@pytest.mark.parametrize("data", [b"[1,\r\n2]" * 1, b"[" + b"1,\n" * 100 + b"1]"])
def test_line_breaks_between_tokens_are_blanks(data):
    assert encode_data(data) == encode_in_pieces(data)


@given(TEXT)
def test_text_is_encoded_as_ever(text):
    try:
        expected = (text * 20).encode()
    except UnicodeEncodeError:
        with pytest.raises(UnicodeEncodeError):
            encode_text(text * 20)
    else:
        assert expected == encode_text(text * 20)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"job_id": "1", "result": "done"}, False),
        ("x" * 20_000, True),
        (10**20_000, True),
        ([0] * 3_000, True),
        ({str(n): [n] * 10 for n in range(1000)}, True),
        (Note("x", []), False),
        (Note("x" * 20_000, []), True),
        (object(), True),
    ],
    ids=range(8),
)
def test_a_look_at_a_payload_tells_whether_it_is_large(data, expected):
    assert expected == is_large(data)


def longest_call(function, *arguments):
    """The seconds that the longest single call of a built-in computed, in which no other thread can run."""
    longest, started = 0.0, 0.0

    def heard(_, what, __):
        nonlocal longest, started
        if what == "c_call":
            started = time.thread_time()
        elif what == "c_return":
            longest = max(longest, time.thread_time() - started)

    gc.disable()
    sys.setprofile(heard)
    try:
        function(*arguments)
    finally:
        sys.setprofile(None)
        gc.enable()
    return longest


@pytest.mark.parametrize(
    "data", ["x" * 50_000_000, "\u65e5" * 10_000_000, MANY, {"a": [MANY], "b": "x" * 9_000_000}], ids=range(4)
)
def test_no_single_call_takes_long_however_large_a_payload_is(data, pieces):
    written = encode_in_pieces(data)

    assert longest_call(encode_in_pieces, data) < 0.02
    assert longest_call(check_in_pieces, written) < 0.02


def test_the_control_as_a_whole_it_takes_many_times_as_long(pieces):
    data = "x" * 50_000_000

    assert longest_call(encode_data, data) > 5 * longest_call(encode_in_pieces, data)
    assert longest_call(check_json, encode_data(data)) > 5 * longest_call(check_in_pieces, encode_data(data))


@pytest.mark.parametrize(
    "data", [MANY[:500], {"a": {"b": {"c": {"d": {"e": [1] * 200}}}}}, "\n" * 300, [[[[[[0]]]]]] * 99], ids=range(4)
)
@pytest.mark.parametrize("indent", [None, 2])
def test_json_in_pieces_is_followed_to_its_end(data, indent, monkeypatch):
    monkeypatch.setattr(payloads, "check_json", None)

    check_in_pieces(json.dumps(data, indent=indent).encode())
