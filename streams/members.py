"""The parts of JSON text, read leniently: each stays the bytes that it was."""

import codecs
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import cast

import msgspec

from playhead.streams.errors import InvalidEvent
from playhead.streams.nesting import DEEPEST, is_too_deep

NULL = msgspec.Raw(b"null")
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[{}\[\],:]|[^\s{}\[\],:"]+', re.DOTALL)
_SPACE = b" \t\r\n"
_STRING = msgspec.json.Decoder(str)
_INTEGER = msgspec.json.Decoder(int)
_FLOAT = msgspec.json.Decoder(float)
_RAW = msgspec.json.Decoder(msgspec.Raw)
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ITEMS = msgspec.json.Decoder(list[msgspec.Raw])


def without_mark(data: bytes) -> bytes:
    """JSON as a file has it without the byte order mark of UTF-8, which says nothing (RFC 8259, section 8.1).

    Raises:
        InvalidEvent: it is UTF-16 or UTF-32.
    """
    if b"\0" in data[:4] or data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise InvalidEvent("encoding", "is UTF-16 or UTF-32; convert it: `iconv -f UTF-16 -t UTF-8`")
    return data.removeprefix(codecs.BOM_UTF8)


def compact(data: bytes) -> bytes:
    """The same JSON without space between its tokens; numbers and strings stay as they are written.

    Raises:
        ValueError: it is not JSON; lone surrogate escapes are.
        RecursionError: it is nested too deeply.
    """
    if is_too_deep(data):
        raise RecursionError(f"nested deeper than {DEEPEST} levels")
    try:
        return msgspec.json.format(data, indent=-1)
    except msgspec.DecodeError:
        json.loads(data.decode(), parse_constant=_refuse)
        return b"".join([token[0] for token in _TOKEN.finditer(data)])


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
            return dict(_split(bytes(data), b"{}"))
        except ValueError:
            return None


def decode_items(data: bytes | msgspec.Raw) -> list[msgspec.Raw] | None:
    """The items of a list, as the bytes they were; None where the data is not a JSON list."""
    try:
        return _ITEMS.decode(data)
    except msgspec.ValidationError:
        return None
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        try:
            return [item for _, item in _split(bytes(data), b"[]")]
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


def _split(data: bytes, brackets: bytes) -> Iterator[tuple[str, msgspec.Raw]]:
    """Split an object or a list, as the brackets say, at the commas of its own level."""
    data = data.strip(_SPACE)
    if data[:1] + data[-1:] != brackets or len(data) < len(brackets):
        raise ValueError("other brackets")
    depth, key, start, end = 0, "", 0, 0
    for token in _TOKEN.finditer(data):
        mark = token[0][:1]
        if depth == 0 and end:
            raise ValueError("something follows the object")
        if depth == 1 and mark == b":":
            key, start = _name(data[start : token.start()]), token.end()
        elif depth == 1 and mark in b",}]":
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
    if is_too_deep(value):
        return msgspec.Raw(value)
    try:
        _RAW.decode(value)
    except RecursionError:
        pass
    except msgspec.DecodeError:
        with suppress(RecursionError):
            json.loads(value)
    return msgspec.Raw(value)


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
