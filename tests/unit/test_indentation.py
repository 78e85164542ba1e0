"""JSON is laid out for people, unless that would take many times its room."""

import json

import pytest

from playhead.projections.encoding import indent


@pytest.mark.parametrize("depth", [400, 500])
def test_a_result_that_would_be_hundreds_of_times_as_large_laid_out_for_people_is_left_as_it_is(depth):
    deep = b"[" * depth + b",".join([b"1"] * 200_000) + b"]" * depth

    assert deep + b"\n" == indent(deep)


def test_what_is_large_or_deep_alone_is_laid_out_as_ever():
    large = json.dumps([{"a": [n, {"b": '[,"\\'}], "c": {}} for n in range(20_000)]).encode()
    deep = b"[" * 400 + b"1" + b"]" * 400
    for data in (large, deep, b'{"a": 1}', b'"' + b"[{," * 1_000_000 + b'"'):
        assert json.dumps(json.loads(data), indent=2).encode() + b"\n" == indent(data)
