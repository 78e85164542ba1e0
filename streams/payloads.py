"""Large payloads, written and checked in pieces.

A thread of its own is not enough: the encoders and decoders of JSON keep the interpreter's lock until they are done,
half a second for 50 MB, and an event loop in another thread waits for it. Here they work on a piece at a time.
"""

import codecs
import json
import re
from collections.abc import Iterator
from functools import cache
from io import BytesIO
from typing import cast

import msgspec

from playhead.streams.errors import InvalidEvent
from playhead.streams.events import check_json, encode_data, one_line

LARGE = 16 * 1024
"""Bytes, roughly, that are written within a quarter of a millisecond."""

_PIECE = 128 * 1024
_NODE = 8
"""Bytes that a number, a name or a bracket counts for."""
_DEPTH = 200
"""Brackets within brackets that are followed in pieces."""

_LEVELS = 3
"""Of those, how many are followed by a regular expression."""

_SPACE = rb"[ \t\n\r]*+"
_STRING = rb'"(?:[^"\\\x00-\x1f]++|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*+"'
_NUMBER = rb"-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?+(?:[eE][-+]?[0-9]++)?+"
_SCALAR = rb"(?:" + _STRING + rb"|" + _NUMBER + rb"|true|false|null)"


def _nested(value: bytes) -> bytes:
    items, members = (
        rb"(?:" + one + _SPACE + rb"(?:," + _SPACE + rb"(?!" + end + rb")|(?=" + end + rb")))*+"
        for one, end in ((value, rb"\]"), (_member(value), rb"\}"))
    )
    return rb"(?:" + _SCALAR + rb"|\[" + _SPACE + items + rb"\]|\{" + _SPACE + members + rb"\})"


def _member(value: bytes) -> bytes:
    return _STRING + _SPACE + rb":" + _SPACE + value


@cache
def _items(bracket: int) -> "re.Pattern[bytes]":
    """Items of a list or an object that are whole, each with the comma behind it."""
    value = _SCALAR
    for _ in range(_LEVELS):
        value = _nested(value)
    item = value if bracket == ord("[") else _member(value)
    return re.compile(rb"(?:" + _SPACE + item + _SPACE + rb",)*+")


_SPACES = re.compile(_SPACE)
_NAME = re.compile(_SPACE + _STRING + _SPACE + rb":")
_PLAIN = re.compile(rb"(?:" + _NUMBER + rb"|true|false|null)")
_WITHIN_STRING = re.compile(rb'(?:[^"\\\x00-\x1f]++|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*+')
_ENDS = {ord("["): ord("]"), ord("{"): ord("}")}


def is_large(data: object) -> bool:
    """Whether it takes too long for an event loop to write it, or to check it if it is JSON already."""
    return len(data) > _PIECE if isinstance(data, bytes) else _weight(data, LARGE) >= LARGE


def encode_in_pieces(data: object) -> bytes:
    """Write a payload as `encode_data` does.

    Raises:
        InvalidEvent: as `encode_data`.
    """
    if isinstance(data, bytes):
        check_in_pieces(data)
        return _one_line(data)
    buffer = BytesIO()
    try:
        for text in _texts(data):
            buffer.write(text.encode())
    except (TypeError, ValueError, RecursionError):
        return encode_data(data)  # which says what is wrong with it, or writes what has no form in UTF-8
    except RuntimeError as error:
        raise InvalidEvent("data", f"was changed while it was written: {error}") from error
    return buffer.getvalue()


def encode_text(text: str) -> bytes:
    """Encode as UTF-8.

    Raises:
        UnicodeEncodeError: it holds a lone surrogate.
    """
    buffer = BytesIO()
    for start in range(0, len(text), _PIECE):
        buffer.write(text[start : start + _PIECE].encode())
    return buffer.getvalue()


def check_in_pieces(data: bytes) -> None:
    """Refuse what `check_json` refuses.

    Raises:
        InvalidEvent: as `check_json`.
    """
    if not (_is_utf8(data) and _Scan(data).is_json()):
        check_json(data)  # says what is wrong with it, or that nothing is but its depth


def _weight(data: object, limit: int) -> int:
    """How many bytes of JSON it is, roughly, up to the limit; what is not known counts as large."""
    stack = [data]
    weight = 0
    while stack and weight < limit:
        one = stack.pop()
        weight += _NODE
        if one is None or isinstance(one, float):
            continue
        if isinstance(one, str | bytes):
            weight += len(one)
        elif isinstance(one, int):
            weight += one.bit_length() // 3
        elif isinstance(one, dict | list | tuple):
            members = cast("dict[object, object] | list[object] | tuple[object, ...]", one)
            if len(members) * _NODE >= limit:
                return limit
            stack += members
            if isinstance(members, dict):
                stack += members.values()
        elif isinstance(one, msgspec.Struct):
            stack += (getattr(one, name) for name in one.__struct_fields__)
        else:
            return limit
    return weight


def _texts(data: object) -> Iterator[str]:
    """The JSON text of it, in pieces."""
    if _weight(data, _PIECE) < _PIECE:
        yield _dump(data)
    elif type(data) is str:
        yield '"'
        for start in range(0, len(data), _PIECE):
            yield json.dumps(data[start : start + _PIECE], ensure_ascii=False)[1:-1]
        yield '"'
    elif type(data) is list or type(data) is tuple:
        yield from _list_texts(cast("list[object]", data))
    elif type(data) is dict:
        members = cast("dict[str, object]", data)
        plain = all(type(name) is str for name in members)
        yield from _object_texts(members) if plain else (_dump(members),)
    else:
        built = msgspec.to_builtins(data)
        yield from _texts(built) if type(built) in {dict, list, str} else (_dump(built),)


def _list_texts(data: "list[object]") -> Iterator[str]:
    yield "["
    between = ""
    light: list[object] = []
    weight = 0
    for item in data:
        own = _weight(item, _PIECE)
        if light and weight + own >= _PIECE:
            yield between + _dump(light)[1:-1]
            between, light, weight = ",", [], 0
        if own >= _PIECE:
            yield between
            yield from _texts(item)
            between = ","
        else:
            light.append(item)
            weight += own
    if light:
        yield between + _dump(light)[1:-1]
    yield "]"


def _object_texts(data: dict[str, object]) -> Iterator[str]:
    yield "{"
    between = ""
    light: dict[str, object] = {}
    weight = 0
    for name, value in data.items():
        own = _weight(value, _PIECE) + len(name)
        if light and weight + own >= _PIECE:
            yield between + _dump(light)[1:-1]
            between, light, weight = ",", {}, 0
        if own >= _PIECE:
            yield between
            yield from _texts(name)
            yield ":"
            yield from _texts(value)
            between = ","
        else:
            light[name] = value
            weight += own
    if light:
        yield between + _dump(light)[1:-1]
    yield "}"


def _dump(data: object) -> str:
    return json.dumps(msgspec.to_builtins(data), allow_nan=False, ensure_ascii=False, separators=(",", ":"))


def _one_line(data: bytes) -> bytes:
    if b"\n" not in data and b"\r" not in data:
        return data
    buffer = BytesIO()
    for start in range(0, len(data), _PIECE):
        buffer.write(one_line(data[start : start + _PIECE]))
    return buffer.getvalue()


def _is_utf8(data: bytes) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for start in range(0, len(data), _PIECE):
            decoder.decode(data[start : start + _PIECE])
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


class _Scan:
    """Reads JSON from left to right, as many whole items at a time as a piece holds."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self._open = bytearray()

    def is_json(self) -> bool:
        """False where it is none, or where brackets are too deep to tell."""
        while self._value():
            if not self._open:
                self._skip(_SPACES)
                return self._at == len(self._data)
        return False

    def _value(self) -> bool:
        """Go past a value, or into it, and past all that ends with it; False where there is none."""
        if self._open:
            self._skip(_items(self._open[-1]))
            if self._open[-1] == ord("{") and not self._match(_NAME):
                return False
        self._skip(_SPACES)
        first = self._next()
        if first in _ENDS:
            self._at += 1
            self._open.append(first)
            self._skip(_SPACES)
            return len(self._open) < _DEPTH and (self._next() != _ENDS[first] or self._close())
        if first == ord('"'):
            self._at += 1
            self._skip(_WITHIN_STRING)
            if self._next() != ord('"'):
                return False
            self._at += 1
        elif not self._match(_PLAIN):
            return False
        return self._after_value()

    def _after_value(self) -> bool:
        if not self._open:
            return True
        self._skip(_SPACES)
        if self._next() == ord(","):
            self._at += 1
            return True
        return self._close()

    def _close(self) -> bool:
        if self._next() != _ENDS[self._open.pop()]:
            return False
        self._at += 1
        return self._after_value()

    def _skip(self, pattern: "re.Pattern[bytes]") -> None:
        """Go past what matches, however much that is, a piece at a time."""
        while found := pattern.match(self._data, self._at, self._at + _PIECE):
            if found.end() == self._at:
                return
            self._at = found.end()

    def _match(self, pattern: "re.Pattern[bytes]") -> bool:
        found = pattern.match(self._data, self._at)
        if found is None:
            return False
        self._at = found.end()
        return True

    def _next(self) -> int:
        return self._data[self._at] if self._at < len(self._data) else -1
