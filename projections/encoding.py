"""JSON through msgspec, and through the standard library for lone surrogates, which msgspec refuses."""

import json
import re
from typing import TypeVar

import msgspec

from playhead.streams.nesting import DEEPEST, is_too_deep

Value = TypeVar("Value")

_ROOM = 64 * 1024 * 1024
_MOST_TIMES = 16
_STRUCTURE = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{},]', re.DOTALL)


def encode(value: object) -> bytes:
    """Write a value on one line."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        return json.dumps(msgspec.to_builtins(value), separators=(",", ":")).encode()


def decode(data: bytes, type: type[Value]) -> Value:
    """Read a value.

    Raises:
        ValueError: it is not JSON, or has another shape.
    """
    try:
        return msgspec.json.decode(data, type=type)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        return msgspec.convert(json.loads(data), type)


def indent(data: bytes) -> bytes:
    """Lay JSON out for people, by two spaces and with a newline at the end; left as it is if that takes too much room.

    Values that are nested 500 deep would take 500 times as much.
    """
    if is_too_deep(data) or _grows_too_much(data):
        return data + b"\n"
    try:
        return msgspec.json.format(data, indent=2) + b"\n"
    except msgspec.DecodeError:
        return json.dumps(json.loads(data), indent=2, allow_nan=False).encode() + b"\n"


def _grows_too_much(data: bytes) -> bool:
    """Whether JSON laid out is over the limit; its lines are counted first, as almost nothing is."""
    if len(data) * (2 * DEEPEST + 3) <= _ROOM:  # if each byte began a line at the deepest level
        return False
    limit = max(_ROOM, _MOST_TIMES * len(data))
    lines = 1 + data.count(b",") + 2 * (data.count(b"[") + data.count(b"{"))
    fitting = ((limit - len(data)) // lines - 2) // 2  # so many levels fit, even if every line is at the deepest
    return fitting < DEEPEST and is_too_deep(data, fitting) and _laid_out(data) > limit


def _laid_out(data: bytes) -> int:
    """Bytes that JSON has if it is laid out, or a few more."""
    size, depth = len(data), 0
    for found in _STRUCTURE.finditer(data):
        match found[0]:
            case b"[" | b"{":
                depth += 1
            case b"]" | b"}":
                depth -= 1
            case b",":
                pass
            case _:
                continue
        size += 2 * depth + 2
    return size
