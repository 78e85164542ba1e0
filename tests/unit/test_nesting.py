"""How deep JSON may be nested, whatever the interpreter and whoever calls."""

import json

import pytest

from playhead.projections.encoding import indent
from playhead.streams.errors import InvalidEvent
from playhead.streams.events import check, new_event
from playhead.streams.members import compact, decode_members
from playhead.streams.nesting import DEEPEST, is_too_deep


def nested(levels: int, inner: bytes = b"") -> bytes:
    """Lists and objects in turn."""
    pairs = [(b"[", b"]") if n % 2 else (b'{"a":', b"}") for n in range(levels)]
    if levels % 2 and not inner:
        inner = b"1"
    return b"".join(a for a, _ in pairs) + (inner or b"1") + b"".join(b for _, b in reversed(pairs))


@pytest.mark.parametrize(
    ("expected", "data"),
    [
        (False, nested(DEEPEST)),
        (True, nested(DEEPEST + 1)),
        (False, b"[" + b",".join([b"[]"] * 2000) + b"]"),
        (False, json.dumps(["[" * 2000]).encode()),
        (False, json.dumps(['\\"' + "{[" * 1000, "\\", "[" * 600, '"\\\\"' * 9]).encode()),
        (False, nested(DEEPEST, json.dumps("[" * 600 + '\\"').encode())),
        (True, nested(DEEPEST + 1, json.dumps("]" * 600 + '\\"').encode())),
        (True, b"[" * 5000),
        (False, b"]" * 5000),
        (False, b""),
    ],
)
def test_what_is_in_strings_or_side_by_side_is_not_deep(expected: bool, data: bytes):
    assert expected == is_too_deep(data)


@pytest.mark.parametrize("type", ["job.completed", "note.made"])
def test_an_event_that_some_interpreter_cannot_read_is_refused_by_all(type: str):
    good = b'{"job_id":"1","result":%b}' % nested(DEEPEST - 1)
    check(new_event(type, subject="job/1", source="s", data=good))

    with pytest.raises(InvalidEvent, match=f"nested deeper than {DEEPEST} levels"):
        new_event(type, subject="job/1", source="s", data=b'{"job_id":"1","result":%b}' % nested(DEEPEST))


def test_a_value_that_is_too_deep_is_refused_as_bytes_are():
    value: object = 1
    for _ in range(DEEPEST + 1):
        value = [value]

    with pytest.raises(InvalidEvent, match="nested deeper"):
        new_event("job.completed", subject="job/1", source="s", data={"job_id": "1", "result": value})


@pytest.mark.parametrize("levels", [DEEPEST + 1, 1200, 5000])
def test_older_json_that_is_too_deep_is_kept_as_it_is(levels: int):
    deep = nested(levels)

    assert deep + b"\n" == indent(deep)
    assert deep == bytes((decode_members(b'{"result": %b }' % deep) or {})["result"])
    with pytest.raises(RecursionError):
        compact(deep)
