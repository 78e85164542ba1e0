"""The members of a JSON object, read leniently: each stays the bytes that it was."""

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import cast

import msgspec

NULL = msgspec.Raw(b"null")
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[{}\[\],:]|[^\s{}\[\],:"]+', re.DOTALL)
_SPACE = b" \t\r\n"
_STRING = msgspec.json.Decoder(str)
_INTEGER = msgspec.json.Decoder(int)
_FLOAT = msgspec.json.Decoder(float)
_RAW = msgspec.json.Decoder(msgspec.Raw)
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])


def decode_members(data: bytes | msgspec.Raw) -> dict[str, msgspec.Raw] | None:
    r"""The members of an object in order, as the bytes they were; None if the data is not a JSON object.

    msgspec refuses lone surrogates such as `\ud800`, deep nesting and NaN, all of which old files hold;
    then the members are found by their brackets. What they are may still hold bytes that are not UTF-8.
    """
    try:
        return _MEMBERS.decode(data)
    except msgspec.ValidationError:
        return None
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        try:
            return dict(_split(bytes(data)))
        except ValueError:
            return None


def text_or_none(value: msgspec.Raw) -> str | None:
    """The string, if it is one and not empty; it may hold lone surrogates."""
    try:
        return _STRING.decode(value) or None
    except (msgspec.ValidationError, UnicodeDecodeError):
        return None
    except msgspec.DecodeError:
        with suppress(ValueError, RecursionError):
            found = cast("object", json.loads(bytes(value)))
            return found if isinstance(found, str) and found else None
        return None
    except RecursionError:
        return None


def integer_or_none(value: msgspec.Raw) -> int | None:
    """The number, if it is a whole one."""
    try:
        return _INTEGER.decode(value)
    except (ValueError, RecursionError):
        return None


def float_or_none(value: msgspec.Raw) -> float | None:
    try:
        return _FLOAT.decode(value)
    except (ValueError, RecursionError):
        return None


def _split(data: bytes) -> Iterator[tuple[str, msgspec.Raw]]:
    """Split an object at the commas of its own level."""
    data = data.strip(_SPACE)
    if data[:1] != b"{" or data[-1:] != b"}":
        raise ValueError("not an object")
    depth, key, start, end = 0, "", 0, 0
    for token in _TOKEN.finditer(data):
        mark = token[0][:1]
        if depth == 0 and end:
            raise ValueError("something follows the object")
        if depth == 1 and mark == b":":
            key, start = _name(data[start : token.start()]), token.end()
        elif depth == 1 and mark in b",}":
            value = data[start : token.start()].strip(_SPACE)
            if value:
                yield key, _checked(value)
            start = token.end()
        if mark in b"{[":
            depth += 1
            start = token.end() if depth == 1 else start
        elif mark in b"}]":
            depth -= 1
        end = token.end()
    if depth or end != len(data):
        raise ValueError("brackets do not match")


def _name(key: bytes) -> str:
    if not key.strip(_SPACE).startswith(b'"'):
        raise ValueError("a member has no name")
    return cast("str", json.loads(key))


def _checked(value: bytes) -> msgspec.Raw:
    try:
        _RAW.decode(value)
    except RecursionError:
        pass
    except msgspec.DecodeError:
        with suppress(RecursionError):
            json.loads(value)
    return msgspec.Raw(value)
