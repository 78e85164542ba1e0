"""What JSON can say of a program's own objects: each part that it has no form for becomes text, and no other."""

import dataclasses
import json
import math
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from contextlib import suppress
from typing import cast

import msgspec

from playhead.streams.events import encode_data

_DEEPEST = 300
"""Levels of a value, well within what every interpreter and JSON library reads; what is deeper becomes text."""

_NAME = cast("Callable[[type], str]", type.__dict__["__name__"].__get__)


class Representation:
    """A value for JSON; `changed` says whether a part of it became text.

    NaN, infinities, objects, keys such as tuples, and integers of thousands of digits become Python's repr, a
    container within itself becomes `[...]` or `{...}`. Keys that become the same text are numbered.
    """

    def __init__(self, value: object) -> None:
        self.changed = False
        self._path: set[int] = set()
        self.value = self._of(value)

    def _of(self, value: object) -> object:
        parts = _readable_parts(value)
        if parts is None:
            return value if _has_form(value) else self._text(value)
        if id(value) in self._path:
            self.changed = True
            return "{...}" if isinstance(parts, Mapping) else "[...]"
        if len(self._path) >= _DEEPEST:
            return self._text(value)
        self._path.add(id(value))
        try:
            if isinstance(parts, Mapping):
                return self._mapping(cast("Mapping[object, object]", parts))
            return [self._of(part) for part in list(parts)]
        except BaseException:  # noqa: BLE001  a program's own containers may do anything, and other threads change them
            return self._text(value)
        finally:
            self._path.discard(id(value))

    def _mapping(self, parts: Mapping[object, object]) -> dict[str, object]:
        found: dict[str, object] = {}
        for key, part in list(parts.items()):
            name = text = self._key(key)
            number = 1
            while name in found:
                self.changed = True
                number += 1
                name = f"{text} ({number})"
            found[name] = self._of(part)
        return found

    def _key(self, key: object) -> str:
        if isinstance(key, str):
            return str(key)
        try:
            return next(iter(json.loads(encode_data({key: None}))))
        except BaseException:  # noqa: BLE001  a program's own objects may do anything
            return self._text(key)

    def _text(self, value: object) -> str:
        self.changed = True
        return text_of(value)


def text_of(value: object, *forms: Callable[[object], str]) -> str:
    """What the first of the forms writes, Python's repr if none is given, whatever the object does when it is asked."""
    for form in forms or (repr,):
        with suppress(BaseException):  # a program's own __repr__ may do anything, and also exit
            return str.__str__(form(value))  # of a subclass, which may do anything when it is formatted, the text alone
    return hex(cast("int", value)) if issubclass(type(value), int) else f"<{type_name(value)} without a form>"


def type_name(value: object) -> str:
    """The name of an object's class, whatever its class does when it is asked."""
    return str.__str__(_NAME(type(value)))


def _has_form(value: object) -> bool:
    if type(value) is float:  # first what is told at once: a result may have millions of them
        return math.isfinite(value)
    if value is None or type(value) in {str, bool}:
        return True
    try:
        encode_data({"": value})  # bytes alone would be taken for JSON
    except BaseException:  # noqa: BLE001  a program's own objects may do anything
        return False
    return True


def _readable_parts(value: object) -> Mapping[object, object] | Iterable[object] | None:
    try:
        return _parts(value)
    except BaseException:  # noqa: BLE001  a program's own properties may do anything
        return None


def _parts(value: object) -> Mapping[object, object] | Iterable[object] | None:
    """What a container holds; None if it is none."""
    match value:
        case Mapping():
            return cast("Mapping[object, object]", value)
        case list() | tuple() | AbstractSet():
            return cast("Iterable[object]", value)
        case msgspec.Struct():
            return cast("Mapping[object, object]", msgspec.structs.asdict(value))
        case _ if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return {field.name: getattr(value, field.name, None) for field in dataclasses.fields(value)}
        case _:
            return None
