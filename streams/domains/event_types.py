"""Event types as a domain declares them: payload, version, subject, stream and upcasters."""

import json
import re
import string
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any, Generic, TypeVar, cast

import msgspec

from playhead.streams.errors import DomainInvalid, InvalidEvent
from playhead.streams.events import Event, Recorded, check_depth, check_json, check_utf8
from playhead.streams.printable import quoted

Payload = TypeVar("Payload", bound=msgspec.Struct)

Upcaster = Callable[[dict[str, Any]], dict[str, Any]]
"""Turns a payload of one version into one of the next; it may have datetimes, Decimals and what else msgspec writes."""

_TYPE = re.compile(r"[^\s/]{1,255}")
_MARK = "__playhead_event_type__"


class EventType(Generic[Payload]):
    """An event type and its payload.

    `subject` is a template over the payload's fields, such as `invoice/{number}`, or a function of the payload.
    """

    def __init__(
        self,
        name: str,
        payload: type[Payload],
        *,
        stream: str,
        version: int,
        subject: str | Callable[[Payload], str],
        upcasters: Mapping[tuple[str, int], Upcaster],
    ) -> None:
        self.name, self.payload, self.stream, self.version = name, payload, stream, version
        self._subject, self._upcasters = subject, upcasters
        if isinstance(subject, str):
            known = set(payload.__struct_fields__)
            try:
                fields = _fields_of(subject)
            except ValueError as error:
                raise DomainInvalid(f"the subject {subject!r} of {name} is no template: {error}") from error
            for field in fields:
                if field not in known:
                    raise DomainInvalid(
                        f"the subject {subject!r} of {name} names {field!r}, for which {payload.__name__} has no field"
                    )

    @property
    def dataschema(self) -> str:
        """The version of a payload written now."""
        return f"{self.name}/{self.version}"

    @property
    def gaps(self) -> list[int]:
        """Older versions without an upcaster."""
        return [number for number in range(1, self.version) if (self.name, number) not in self._upcasters]

    def subject_of(self, payload: Payload) -> str:
        """The subject of an event with this payload.

        Raises:
            InvalidEvent: a field that the subject names is null, or the subject cannot be made or is no text.
        """
        try:
            subject = self._subject(payload) if callable(self._subject) else self._filled(self._subject, payload)
        except InvalidEvent:
            raise
        except Exception as error:
            raise InvalidEvent("subject", f"of {self.name} cannot be made: {type(error).__name__}: {error}") from error
        if not _is_text(subject):
            raise InvalidEvent("subject", f"of {self.name} must be text; its function returned {quoted(subject)}")
        return subject

    def _filled(self, template: str, payload: Payload) -> str:
        named = {name: getattr(payload, name) for name in _fields_of(template)}
        if missing := [name for name, value in named.items() if value is None]:
            raise InvalidEvent("subject", f"cannot be made from the payload: it has no {missing[0]}")
        return template.format_map(named)

    def check(self, event: Event) -> None:
        """Refuse an event whose payload is not JSON in UTF-8, or not of this type.

        Raises:
            InvalidEvent: with what is wrong.
        """
        check_utf8(event.data)
        check_depth(event.data)
        self.decode(event)

    def decode(self, event: Event) -> Payload:
        """Read the payload; one of an older version is upcast first.

        Raises:
            InvalidEvent: it does not fit the Struct, or its version is newer than this program's.
        """
        try:
            return self._read(event)
        except InvalidEvent:
            raise
        except RecursionError as error:
            raise InvalidEvent("data", "nested too deeply") from error
        except Exception as error:  # also whatever `__post_init__` of the Struct raises
            said = str(error) if isinstance(error, msgspec.MsgspecError) else f"{type(error).__name__}: {error}"
            raise InvalidEvent("data", f"is not a valid {self.payload.__name__}: {said}") from error

    def _read(self, event: Event) -> Payload:
        if event.dataschema != self.dataschema and (version := self.version_of(event)) != self.version:
            return self._convert(self._upcast(_loads(event.data), version))
        try:
            return self._decoder.decode(event.data)
        except msgspec.ValidationError:
            raise
        except (msgspec.DecodeError, RecursionError):
            return self._convert(_loads(event.data))  # a lone surrogate, or a number beyond 64 bits

    def typed(self, recorded: Recorded) -> Recorded[Payload]:
        """Give an event with its payload read.

        Raises:
            InvalidEvent: as `decode`.
        """
        return Recorded(
            recorded.event, recorded.position, recorded.sequence, recorded.replay, self.decode(recorded.event)
        )

    def version_of(self, event: Event) -> int:
        """The version of an event's payload: 1 if it has no `dataschema`, the current one if that has another form."""
        if event.dataschema is None:
            return 1
        name, _, number = event.dataschema.rpartition("/")
        return int(number) if name == self.name and number.isascii() and number.isdecimal() else self.version

    def _upcast(self, data: object, version: int) -> object:
        if version > self.version:
            raise InvalidEvent(
                "dataschema",
                f"version {version} of {self.name} is newer than {self.version}, the one known here: upgrade this"
                " program, then retry the event",
            )
        if not isinstance(data, dict):
            raise InvalidEvent("data", "is no JSON object")
        found = cast("dict[str, Any]", data)
        for number in range(version, self.version):
            try:
                found = self._upcasters[self.name, number](found)
            except Exception as error:
                raise InvalidEvent(
                    "data",
                    f"is not a payload of version {number} of {self.name}: its upcaster failed with"
                    f" {type(error).__name__}: {error}; `dataschema` says which version an event has, 1 if it has none",
                ) from error
        return found

    def _convert(self, data: object) -> Payload:
        plain = msgspec.to_builtins(_as_text(data))  # an upcaster may make datetimes, Decimals and the like
        return self._decoder.decode(json.dumps(plain, ensure_ascii=False).encode())

    @cached_property
    def _decoder(self) -> msgspec.json.Decoder[Payload]:
        return msgspec.json.Decoder(self.payload)


class Stream:
    """A category of events, split into partitions; a domain declares its event types in it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.types: dict[str, EventType[Any]] = {}
        self._upcasters: dict[tuple[str, int], Upcaster] = {}

    def event(
        self, type: str, *, version: int = 1, subject: str | Callable[[Any], str]
    ) -> Callable[[type[Payload]], type[Payload]]:
        """Declare a frozen msgspec Struct as the payload of an event type.

        Raises:
            DomainInvalid: the payload is no frozen Struct, the type is declared twice, or the subject names no field.
        """

        def declare(payload: "type[Payload]") -> "type[Payload]":
            if not _is_text(type) or not _TYPE.fullmatch(type):
                raise DomainInvalid(f"an event type has no spaces or slashes, such as invoice.paid; not {type!r}")
            if not _is_frozen_struct(payload):
                raise DomainInvalid(
                    f"the payload of {type}, {getattr(payload, '__name__', repr(payload))}, must be a msgspec.Struct"
                    " with frozen=True, because a fact does not change"
                )
            if _MARK in vars(payload):
                other = event_type_of(payload).name
                raise DomainInvalid(f"{payload.__name__} is the payload of {other}, and cannot be that of {type} too")
            if type in self.types:
                raise DomainInvalid(f"{type} is declared twice in the stream {self.name}")
            if not _is_whole(version) or version < 1:
                raise DomainInvalid(f"the version of {type} is {version!r}; versions are whole numbers from 1 up")
            if not _is_text(subject) and not callable(subject):
                raise DomainInvalid(
                    f"the subject of {type} is a template such as invoice/{{number}}, or a function of the payload; not"
                    f" {subject!r}"
                )
            declared = EventType(
                type, payload, stream=self.name, version=version, subject=subject, upcasters=self._upcasters
            )
            self.types[type] = declared
            setattr(payload, _MARK, declared)
            return payload

        return declare

    def upcaster(self, type: str, *, version: int) -> Callable[[Upcaster], Upcaster]:
        """Declare how a payload of this version becomes one of the next; the log keeps it as it was written."""

        def declare(upcaster: Upcaster) -> Upcaster:
            if (type, version) in self._upcasters:
                raise DomainInvalid(f"there are two upcasters from version {version} of {type}")
            self._upcasters[type, version] = upcaster
            return upcaster

        return declare

    @property
    def upcasters(self) -> Iterator[tuple[str, int]]:
        """The type and the version from which each upcaster leads on."""
        return iter(self._upcasters)


def event_type_of(payload: "msgspec.Struct | type[msgspec.Struct]") -> EventType[Any]:
    """The event type of a Struct or its class.

    Raises:
        InvalidEvent: it is not declared as an event.
    """
    cls = payload if isinstance(payload, type) else type(payload)
    declared = cast("EventType[Any] | None", vars(cls).get(_MARK))
    if declared is None:
        raise InvalidEvent(
            "type", f"{cls.__name__} is not declared as an event: decorate it with `@stream.event(type, subject=...)`"
        )
    return declared


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_frozen_struct(payload: object) -> bool:
    return isinstance(payload, type) and issubclass(payload, msgspec.Struct) and payload.__struct_config__.frozen


def _loads(data: bytes) -> object:
    check_json(data)
    return json.loads(data)


def _as_text(data: object) -> object:
    """The same with U+FFFD for lone surrogates, which are no text: msgspec refuses them."""
    match data:
        case str():
            return data.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        case dict():
            return {_as_text(name): _as_text(value) for name, value in cast("dict[str, object]", data).items()}
        case list():
            return [_as_text(value) for value in cast("list[object]", data)]
        case _:
            return data


def _fields_of(template: str) -> list[str]:
    return [name for _, name, _, _ in string.Formatter().parse(template) if name is not None]
