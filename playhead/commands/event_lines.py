"""JSON lines of `playhead append`: a CloudEvent in JSON, or a line of the event log."""

import json
from typing import cast

import msgspec

from playhead.eventlog.errors import BadLine
from playhead.eventlog.lines import decode_line
from playhead.streams.errors import InvalidEvent
from playhead.streams.events import Event, Extension, check, check_json, new_event
from playhead.streams.members import decode_members, without_mark

_ATTRIBUTES = frozenset(
    {"id", "source", "time", "dataschema", "correlationid", "causationid", "traceparent", "tracestate", "imported"}
)
_TEXTS = _ATTRIBUTES | {"type", "subject"}
_SET_BY_APPEND = frozenset({"specversion", "sequence"})
_DIGITS = 20
_LOG_LINE = frozenset({"position", "crc32c", "event"})
_decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def event_of(line: bytes) -> Event:
    """Read a line.

    Raises:
        InvalidEvent: names the attribute that is missing or wrong.
    """
    text = without_mark(line)
    members = _members(text)
    if members.keys() == _LOG_LINE:
        return _logged(text)
    data = members.pop("data", None)
    values = {name: value for name, raw in members.items() if (value := _value(name, bytes(raw))) is not None}
    for name in ("type", "subject"):
        if name not in values:
            raise InvalidEvent(name, "is missing")
    if data is None:
        raise InvalidEvent("data", "is missing")
    texts = {name: _text(name, values[name]) for name in values.keys() & _TEXTS}
    attributes = {name: texts[name] for name in texts.keys() & _ATTRIBUTES}
    extensions = {name: value for name, value in values.items() if name not in _TEXTS | _SET_BY_APPEND}
    event = new_event(texts["type"], subject=texts["subject"], data=bytes(data), extensions=extensions, **attributes)
    check(event)
    return event


def _members(text: bytes) -> dict[str, msgspec.Raw]:
    try:
        return _decode(text)
    except msgspec.ValidationError as error:
        raise InvalidEvent("line", "is no JSON object") from error
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):  # a lone surrogate, or no JSON
        try:
            check_json(text)
        except InvalidEvent as error:
            raise InvalidEvent("line", error.problem) from error
    members = decode_members(text)
    if members is None:
        raise InvalidEvent("line", "is no JSON object")
    return members


def _logged(text: bytes) -> Event:
    """The event of a line as `playhead log cat` prints it, which has a checksum."""
    try:
        return decode_line(text.strip() + b"\n").event
    except BadLine as error:
        raise InvalidEvent("line", f"is not as the log has it: {error}; append what is in `event` alone") from error


def _value(name: str, raw: bytes) -> Extension | None:
    """The value of an attribute; null is none (CloudEvents JSON format, section 3.1)."""
    if raw.startswith(b'"') or (raw[:1] not in {b"{", b"["} and len(raw) <= _DIGITS):
        value = cast("object", json.loads(raw))
        if value is None or isinstance(value, str | bool | int):
            return value
    raise InvalidEvent(name, "is neither text, true, false nor a whole number, as the attributes of a CloudEvent are")


def _text(name: str, value: Extension) -> str:
    if not isinstance(value, str):
        raise InvalidEvent(name, f"is {json.dumps(value)}, which is no text")
    return value
