"""JSON through msgspec, and through the standard library for lone surrogates, which msgspec refuses."""

import json
from typing import TypeVar

import msgspec

from playhead.streams.nesting import is_too_deep

Value = TypeVar("Value")


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
    """Lay JSON out for people, by two spaces and with a newline at the end."""
    if is_too_deep(data):
        return data + b"\n"
    try:
        return msgspec.json.format(data, indent=2) + b"\n"
    except msgspec.DecodeError:
        return json.dumps(json.loads(data), indent=2, allow_nan=False).encode() + b"\n"
