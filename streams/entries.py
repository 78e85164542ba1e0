"""The entry codec: an event as the fields of a Redis Stream entry, and back."""

from collections.abc import Sequence

import crc32c
import msgspec

from streams.errors import InvalidEvent
from streams.events import Event, Recorded, check_json, parse_time
from streams.positions import Position

_PREFIX = "ce_"
_OPTIONAL = ("dataschema", "correlationid", "causationid", "traceparent", "tracestate", "imported")
_REQUIRED = ("id", "source", "type", "time", "subject")
_KNOWN = frozenset({*_REQUIRED, *_OPTIONAL, "specversion", "sequence", "crc32c", "position", "replay"})
_FIELD = "field_"
"""Prefix of an extension that keeps an entry's field which is no CloudEvents attribute."""


class RawEntry(msgspec.Struct, frozen=True):
    """An entry as Redis gives it: its id, and field and value in turn."""

    entry_id: bytes
    fields: Sequence[bytes]


def encode(event: Event, *, replay: str | None = None, position: Position | None = None) -> list[str | bytes]:
    """Write an event as field and value in turn, all but the sequence, which the server sets."""
    fields: list[str | bytes] = ["ce_specversion", "1.0"]
    for name in _REQUIRED:
        fields += (_PREFIX + name, getattr(event, name))
    for name in _OPTIONAL:
        if (value := getattr(event, name)) is not None:
            fields += (_PREFIX + name, value)
    for name, value in event.extensions.items():
        fields += (name.removeprefix(_FIELD) if name.startswith(_FIELD) else _PREFIX + name, value)
    if position is not None:
        fields += ("ce_position", str(position))
    if replay is not None:
        fields += ("ce_replay", replay)
    fields += ("ce_crc32c", f"{crc32c.crc32c(event.data):08x}", "body", event.data)
    return fields


def decode(entry: RawEntry) -> Recorded:
    """Read an entry, whoever appended it.

    Raises:
        InvalidEvent: names the field that is missing, malformed or damaged.
    """
    body: bytes | None = None
    attributes: dict[str, str] = {}
    try:
        for name, value in zip(entry.fields[::2], entry.fields[1::2], strict=True):
            if name == b"body":
                body = value
            else:
                attributes[_NAMES.get(name) or name.decode("utf-8", "backslashreplace")] = value.decode()
    except UnicodeDecodeError as error:
        raise InvalidEvent("entry", f"a field is not UTF-8: {error}") from error
    if body is None:
        raise InvalidEvent("body", "is missing")
    if (checksum := attributes.get("ce_crc32c")) is None:
        check_json(body)
    elif checksum != f"{crc32c.crc32c(body):08x}":
        raise InvalidEvent("body", f"does not match its checksum {checksum}: it was altered after it was appended")
    for name in _REQUIRED:
        if not attributes.get(_PREFIX + name):
            raise InvalidEvent(name, "is missing")
    parse_time(attributes["ce_time"])
    sequence = attributes.get("ce_sequence")
    original = attributes.get("ce_position")
    return Recorded(
        event=Event(
            id=attributes["ce_id"],
            source=attributes["ce_source"],
            type=attributes["ce_type"],
            time=attributes["ce_time"],
            subject=attributes["ce_subject"],
            data=body,
            dataschema=attributes.get("ce_dataschema"),
            correlationid=attributes.get("ce_correlationid"),
            causationid=attributes.get("ce_causationid"),
            traceparent=attributes.get("ce_traceparent"),
            tracestate=attributes.get("ce_tracestate"),
            imported=attributes.get("ce_imported"),
            extensions=_extensions(attributes),
        ),
        position=Position.parse(entry.entry_id if original is None else original),
        sequence=int(sequence) if sequence is not None and sequence.isdecimal() else None,
        replay=attributes.get("ce_replay"),
    )


def subject_of(entry: RawEntry) -> str | None:
    """The subject of an entry that may be undecodable otherwise."""
    for name, value in zip(entry.fields[::2], entry.fields[1::2], strict=False):
        if name == b"ce_subject":
            return value.decode("utf-8", "backslashreplace")
    return None


def sequence_of(entry: RawEntry) -> int | None:
    """The sequence number of an entry that may be undecodable otherwise."""
    for name, value in zip(entry.fields[::2], entry.fields[1::2], strict=False):
        if name == b"ce_sequence":
            return int(value) if value.isdigit() else None
    return None


_PREFIXED = frozenset(_PREFIX + name for name in _KNOWN)
_NAMES = {name.encode(): name for name in _PREFIXED}


def _extensions(attributes: dict[str, str]) -> dict[str, str]:
    if attributes.keys() <= _PREFIXED:
        return {}
    return {
        name.removeprefix(_PREFIX) if name.startswith(_PREFIX) else _FIELD + name: value
        for name, value in attributes.items()
        if name not in _PREFIXED
    }
