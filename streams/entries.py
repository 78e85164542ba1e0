"""The entry codec: an event as the fields of a Redis Stream entry, and back."""

import re
from collections.abc import Sequence
from operator import attrgetter
from typing import Literal

import crc32c
import msgspec

from playhead.streams.errors import InvalidEvent
from playhead.streams.events import ATTRIBUTE_LIMIT, Event, Extension, Recorded, check_json, parse_time
from playhead.streams.positions import Position
from playhead.streams.printable import quoted

_PREFIX = "ce_"
_OPTIONAL = ("dataschema", "correlationid", "causationid", "traceparent", "tracestate", "imported")
_REQUIRED = ("id", "source", "type", "time", "subject")
_KNOWN = frozenset(
    {
        b"body",
        *(
            f"{_PREFIX}{name}".encode()
            for name in (*_REQUIRED, *_OPTIONAL, "specversion", "sequence", "crc32c", "position", "replay")
        ),
    }
)
"""Fields of an entry that are no extension of its event."""
_OPTIONAL_FIELDS = tuple(_PREFIX + name for name in _OPTIONAL)
_optional = attrgetter(*_OPTIONAL)
_NO_OPTIONAL = (None,) * len(_OPTIONAL)
_NAMES = ("ce_specversion", *(_PREFIX + name for name in _REQUIRED))
_BODY = ("ce_crc32c", "body")
_USUAL_NAMES = (*_NAMES, *_BODY)
_SEQUENCE_DIGITS = 16
_FIELDS_LIMIT = 1100
"""An event that `append` takes has fewer; a script can write no entry of more than some 4,000."""
_NO_ATTRIBUTES = frozenset({b"body", b"extension_types"})
_FIELD = "field_"
"""Prefix of an extension that keeps an entry's field which is no CloudEvents attribute."""


_TYPES = b"extension_types"
"""The field that says which extensions are no text, as JSON: a field of Redis is always text."""
_WORDS = {True: "true", False: "false"}
_INTEGER = re.compile(r"0|-?[1-9]\d{0,9}", re.ASCII)
_decode_types = msgspec.json.Decoder(dict[str, Literal["integer", "boolean"]]).decode


class RawEntry(msgspec.Struct, frozen=True):
    """An entry as Redis gives it: its id, and field and value in turn."""

    entry_id: bytes
    fields: Sequence[bytes]


def columns(event: Event) -> tuple[tuple[str, ...], list[str | bytes]]:
    """The names of an event's fields, all but the sequence, which the server sets; and their values.

    Events with the same attributes have the same names.
    """
    names = _USUAL_NAMES
    values: list[str | bytes] = ["1.0", event.id, event.source, event.type, event.time, event.subject]
    optional = _optional(event)
    if event.extensions or optional != _NO_OPTIONAL:
        given = [(name, value) for name, value in zip(_OPTIONAL_FIELDS, optional, strict=True) if value is not None]
        types: dict[str, str] = {}
        for name, value in event.extensions.items():
            if not isinstance(value, str):
                types[name] = "boolean" if isinstance(value, bool) else "integer"
            given.append((name.removeprefix(_FIELD) if name.startswith(_FIELD) else _PREFIX + name, _written(value)))
        if types:
            given.append((_TYPES.decode(), msgspec.json.encode(types)))
        names = (*_NAMES, *(name for name, _ in given), *_BODY)
        values += (value for _, value in given)
    values += (f"{crc32c.crc32c(event.data):08x}", event.data)
    return names, values


def encode(event: Event, *, replay: str | None = None, position: Position | None = None) -> list[str | bytes]:
    """Write an event as field and value in turn, all but the sequence, which the server sets."""
    fields = [part for pair in zip(*columns(event), strict=True) for part in pair]
    copied: list[str | bytes] = []
    if position is not None:
        copied += ("ce_position", str(position))
    if replay is not None:
        copied += ("ce_replay", replay)
    body = 2 * len(_BODY)
    return [*fields[:-body], *copied, *fields[-body:]] if copied else fields


def decode(entry: RawEntry, *, copied: bool = False) -> Recorded:
    """Read an entry, whoever appended it.

    One that was `copied`, for a replay or a retry, says where its original stood; any other stands where it is,
    whatever it says.

    Raises:
        InvalidEvent: names the field that is missing, malformed or damaged.
    """
    if len(entry.fields) > 2 * _FIELDS_LIMIT:
        raise InvalidEvent("entry", f"has {len(entry.fields) // 2} fields; {_FIELDS_LIMIT} is the limit")
    alternating = iter(entry.fields)
    members = dict(zip(alternating, alternating, strict=True))
    get = members.get
    body = get(b"body")
    if not body:
        raise InvalidEvent("body", "is missing")
    if sum(map(len, entry.fields)) - len(body) > ATTRIBUTE_LIMIT:  # or none can be too long
        _check_lengths(members)
    if (checksum := get(b"ce_crc32c")) is None:
        check_json(body)
    elif checksum != b"%08x" % crc32c.crc32c(body):
        raise InvalidEvent(
            "body", f"does not match its checksum {quoted(checksum)}: it was altered after it was appended"
        )
    sequence = get(b"ce_sequence")
    try:
        event = Event(
            id=get(b"ce_id", b"").decode(),
            source=get(b"ce_source", b"").decode(),
            type=get(b"ce_type", b"").decode(),
            time=get(b"ce_time", b"").decode(),
            subject=get(b"ce_subject", b"").decode(),
            data=body,
            dataschema=_text(get(b"ce_dataschema")),
            correlationid=_text(get(b"ce_correlationid")),
            causationid=_text(get(b"ce_causationid")),
            traceparent=_text(get(b"ce_traceparent")),
            tracestate=_text(get(b"ce_tracestate")),
            imported=_text(get(b"ce_imported")),
            extensions={} if _KNOWN.issuperset(members) else _extensions(members),
        )
        replay = _text(get(b"ce_replay")) if copied else None
    except UnicodeDecodeError as error:
        raise InvalidEvent("entry", f"a field is not UTF-8: {error}") from error
    if not (event.id and event.source and event.type and event.time and event.subject):
        raise InvalidEvent(next(name for name in _REQUIRED if not getattr(event, name)), "is missing")
    parse_time(event.time)
    return Recorded(
        event,
        Position.parse(get(b"ce_position", entry.entry_id) if copied else entry.entry_id),
        sequence_number(sequence),
        replay,
    )


def subject_of(entry: RawEntry) -> str | None:
    """The subject of an entry that may be undecodable otherwise; one that no event can have is none."""
    value = _last(entry, b"ce_subject")
    return None if value is None or is_too_long(value) else value.decode("utf-8", "backslashreplace")


def is_too_long(value: bytes) -> bool:
    """Whether an attribute has more characters than `append` takes."""
    return len(value) > ATTRIBUTE_LIMIT and len(value.decode("utf-8", "replace")) > ATTRIBUTE_LIMIT


def sequence_of(entry: RawEntry) -> int | None:
    """The sequence number of an entry that may be undecodable otherwise."""
    return sequence_number(_last(entry, b"ce_sequence"))


def _last(entry: RawEntry, field: bytes) -> bytes | None:
    """The value of a field, the last one if it is there twice, as for `decode`."""
    return dict(zip(entry.fields[::2], entry.fields[1::2], strict=False)).get(field)


def sequence_number(value: bytes | None) -> int | None:
    """A sequence number that `append` could have given, None for what another client may have written in its place."""
    return int(value) if value is not None and value.isdigit() and len(value) <= _SEQUENCE_DIGITS else None


def _check_lengths(members: dict[bytes, bytes]) -> None:
    """Hold what another client appended to the limits of `append`.

    Raises:
        InvalidEvent: names the field that is too long.
    """
    for name, value in members.items():
        for text in (name,) if name in _NO_ATTRIBUTES else (name, value):
            if is_too_long(text):
                raise InvalidEvent(
                    quoted(name)[2:-1], f"is {len(text)} bytes long; {ATTRIBUTE_LIMIT} characters is the limit"
                )


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode()


def _extensions(members: dict[bytes, bytes]) -> dict[str, Extension]:
    types = _types(members.get(_TYPES))
    unknown = members.keys() - _KNOWN - ({_TYPES} if types is not None else set())
    texts = {_extension(key.decode("utf-8", "backslashreplace")): members[key].decode() for key in unknown}
    return {name: _typed(text, (types or {}).get(name)) for name, text in texts.items()}


def _written(value: Extension) -> str:
    return _WORDS[value] if isinstance(value, bool) else str(value)


def _extension(field: str) -> str:
    return field.removeprefix(_PREFIX) if field.startswith(_PREFIX) else _FIELD + field


def _types(written: bytes | None) -> dict[str, Literal["integer", "boolean"]] | None:
    """The types of extensions; None for a field that is not ours, which is then an extension itself."""
    if written is None:
        return None
    try:
        return _decode_types(written)
    except (ValueError, RecursionError):
        return None


def _typed(text: str, type: Literal["integer", "boolean"] | None) -> Extension:
    """A value as it was given; text where it is not written as we write that type."""
    if type == "boolean" and text in _WORDS.values():
        return text == _WORDS[True]
    return int(text) if type == "integer" and _INTEGER.fullmatch(text) else text
