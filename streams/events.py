"""The event: CloudEvents 1.0 attributes around a JSON payload."""

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import TYPE_CHECKING, Generic, cast

import msgspec
import uuid_utils

from playhead.streams.errors import EventTooLarge, InvalidEvent
from playhead.streams.members import without_mark
from playhead.streams.nesting import DEEPEST, is_too_deep
from playhead.streams.positions import START, Order, Position
from playhead.streams.printable import quoted

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    Payload = TypeVar("Payload", default=object)
else:
    from typing import TypeVar

    Payload = TypeVar("Payload")

DEFAULT_SIZE_LIMIT = 100 * 1024 * 1024
"""Bytes of payload an event may have; a larger one is refused before it reaches Redis."""

ATTRIBUTE_LIMIT = 4096
"""Characters that an attribute, or the name of an extension, may have."""
_EXTENSIONS_LIMIT = 1000
_REQUIRED = ("id", "source", "type", "time", "subject")
_OPTIONAL = ("dataschema", "correlationid", "causationid", "traceparent", "tracestate", "imported")
_TAKEN = frozenset(
    {"id", "source", "type", "time", "subject", "specversion", "sequence", "crc32c", "position", "replay", *_OPTIONAL}
)
_required, _optional = attrgetter(*_REQUIRED), attrgetter(*_OPTIONAL)
_RAW = msgspec.json.Decoder(msgspec.Raw)
_encode = json.JSONEncoder(allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode
_encode_ascii = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode
_FOREIGN_FIELD = "field_"
_TAKEN_FIELDS = frozenset({"body", "extension_types"})
_INTEGERS = 2**31
_USUAL_TIME = len("2025-08-09T06:36:58.200226Z")
"""Characters up to which msgspec reads a time that ends with Z just as we do, at a third of the cost."""
_HOUR_MINUTE = r"(?:[01]\d|2[0-3]):[0-5]\d"
_RFC3339 = re.compile(
    rf"(\d{{4}}-\d\d-\d\d)[Tt ]({_HOUR_MINUTE}):([0-5]\d|60)(?:\.(\d+))?(?:[Zz]|([+-]{_HOUR_MINUTE}))?", re.ASCII
)
_LEAP_SECOND, _LEAP_MINUTE = "60", (23, 59)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


Extension = str | int | bool
"""The value of an extension, in the types that CloudEvents has in JSON; a whole number is one of 32 bits."""


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """A fact in the past tense.

    Attributes are CloudEvents' (https://github.com/cloudevents/spec, version 1.0.2). `time` is RFC 3339 in UTC,
    `data` the payload as JSON bytes, kept as they came. `extensions` are attributes this version has no name for.
    `stream` is no attribute: it says where to append an event whose type no domain declares.
    """

    id: str
    source: str
    type: str
    time: str
    subject: str
    data: bytes
    dataschema: str | None = None
    correlationid: str | None = None
    causationid: str | None = None
    traceparent: str | None = None
    tracestate: str | None = None
    imported: str | None = None
    extensions: dict[str, Extension] = {}
    stream: str | None = None

    @property
    def timestamp(self) -> datetime:
        """The time as an aware datetime."""
        return parse_time(self.time)


class Recorded(msgspec.Struct, Generic[Payload], frozen=True):
    """An event with the position at which it was first appended; `replay` names the run that brought it again.

    `data` is its payload as the Struct of its type, in what is given to projections and workers; elsewhere nobody has
    read it, and `event.data` has its bytes.
    """

    event: Event
    position: Position
    sequence: int | None = None
    replay: str | None = None
    data: Payload = cast("Payload", None)

    @property
    def order(self) -> Order:
        """Where it stands among the events of its subject."""
        if self.event.imported is None:
            return Order(self.position.milliseconds, self.position.counter, START)
        # It happened before it arrived: a time of the year 9999 must not outrank every later event of its subject.
        happened = max(0, min(int(self.event.timestamp.timestamp() * 1000), self.position.milliseconds))
        return Order(happened, 0, self.position)


def new_event(
    type: str,
    *,
    subject: str,
    data: object,
    source: str = "playhead",
    id: str | None = None,
    time: datetime | str | None = None,
    dataschema: str | None = None,
    correlationid: str | None = None,
    causationid: str | None = None,
    traceparent: str | None = None,
    tracestate: str | None = None,
    imported: str | None = None,
    extensions: dict[str, Extension] | None = None,
    stream: str | None = None,
) -> Event:
    """Make an event of now, with a UUIDv7 unless the producer must be able to repeat itself and passes its own id.

    Raises:
        InvalidEvent: an attribute is missing or malformed, or the data cannot be written as JSON.
    """
    moment = datetime.now(UTC) if time is None else parse_time(time) if isinstance(time, str) else time
    return Event(
        id=id if id is not None else str(uuid_utils.uuid7()),
        source=source,
        type=type,
        time=format_time(moment),
        subject=subject,
        data=encode_data(data),
        dataschema=dataschema,
        correlationid=correlationid,
        causationid=causationid,
        traceparent=traceparent,
        tracestate=tracestate,
        imported=imported,
        extensions=extensions or {},
        stream=stream,
    )


def check(event: Event, size_limit: int = DEFAULT_SIZE_LIMIT) -> None:
    """Refuse an event that a stream must not hold.

    Raises:
        EventTooLarge: its payload is over the limit.
        InvalidEvent: names the field.
    """
    check_attributes(event, size_limit)
    check_json(event.data)


def check_attributes(event: Event, size_limit: int = DEFAULT_SIZE_LIMIT) -> None:
    """Refuse an event for its attributes, or the size of its payload.

    Raises:
        EventTooLarge: its payload is over the limit.
        InvalidEvent: names the field.
    """
    required, optional = _required(event), [value for value in _optional(event) if value is not None]
    if not _are_usual(required, optional):
        for field, value in zip(_REQUIRED, required, strict=True):
            _check_attribute(field, value)
        for field, value in zip(_OPTIONAL, _optional(event), strict=True):
            if value is not None:
                _check_attribute(field, value)
    if event.extensions:
        _check_extensions(event.extensions)
    parse_time(event.time)
    if len(event.data) > size_limit:
        raise EventTooLarge("data", f"{len(event.data)} bytes is over the limit of {size_limit}; store it as a blob")


def check_json(data: bytes) -> None:
    r"""Refuse what is not JSON in UTF-8.

    A lone surrogate escape such as `\ud800` is grammatical JSON (RFC 8259, section 8.2) and is let through.

    Raises:
        InvalidEvent: with what is wrong.
    """
    check_utf8(data)
    check_depth(data)
    try:
        _RAW.decode(data)
    except RecursionError as error:  # many calls are under way
        raise InvalidEvent("data", "nested too deeply") from error
    except msgspec.DecodeError:
        try:
            json.loads(data.decode(), parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            raise InvalidEvent("data", f"not JSON: {error}") from error


def check_depth(data: bytes) -> None:
    """Refuse JSON that is nested deeper than an interpreter may be able to read.

    Raises:
        InvalidEvent: with how deep it may be.
    """
    if is_too_deep(data):
        raise InvalidEvent("data", f"nested deeper than {DEEPEST} levels; store it as text")


def check_utf8(data: bytes) -> None:
    """Refuse what is not UTF-8.

    Raises:
        InvalidEvent: with where it is not.
    """
    if not data.isascii():  # told several times as fast
        try:
            data.decode()
        except UnicodeDecodeError as error:
            raise InvalidEvent("data", f"not UTF-8: {error}") from error


def encode_data(data: object) -> bytes:
    """Write a payload as JSON on one line; bytes are taken as JSON already.

    Raises:
        InvalidEvent: it has something that JSON cannot represent, such as NaN.
    """
    if isinstance(data, bytes):
        data = without_mark(data)
        check_json(data)
        return one_line(data)
    try:
        plain = msgspec.to_builtins(data)
        text = _encode(plain)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidEvent("data", f"cannot be written as JSON: {error}") from error
    try:
        encoded = text.encode()
    except UnicodeEncodeError:
        encoded = _encode_ascii(plain).encode()
    check_depth(encoded)
    return encoded


def one_line(data: bytes) -> bytes:
    """Replace line breaks, which JSON allows only between tokens, so that an event is one line of the log."""
    if b"\n" in data or b"\r" in data:
        return data.replace(b"\r", b" ").replace(b"\n", b" ")
    return data


def parse_time(text: str) -> datetime:
    """Read an RFC 3339 time: T and Z in either case, a space for the T; one without an offset is UTC.

    Digits beyond microseconds are cut off. A leap second, 23:59:60 UTC, is the second after it, as in Postgres.

    Raises:
        InvalidEvent: it is not a time.
    """
    if len(text) <= _USUAL_TIME and text.endswith("Z"):
        try:
            return msgspec.convert(text, datetime)
        except msgspec.ValidationError:
            pass
    found = _RFC3339.fullmatch(text)
    if found is None:
        raise InvalidEvent("time", f"{quoted(text)} is not an RFC 3339 time like 2025-08-09T06:36:58.200226Z")
    date, minute, second, fraction, offset = found.groups()
    leap = second == _LEAP_SECOND
    try:
        moment = datetime.fromisoformat(
            f"{date}T{minute}:{'59' if leap else second}.{(fraction or '')[:6]:0<6}{offset or '+00:00'}"
        ).astimezone(UTC)
        after = moment + timedelta(seconds=leap)
    except (ValueError, OverflowError) as error:
        raise InvalidEvent("time", f"{quoted(text)} is not a time: {error}") from error
    if leap and (moment.hour, moment.minute) != _LEAP_MINUTE:
        raise InvalidEvent("time", f"{quoted(text)} is not a time: there is a second 60 at 23:59 UTC only")
    return after


def parse_date_or_time(text: str) -> datetime:
    """Read an RFC 3339 time, or a date, which is its midnight in UTC: what payloads and options have.

    Raises:
        InvalidEvent: it is neither.
    """
    return parse_time(f"{text}T00:00:00Z" if _DATE.fullmatch(text) else text)


def format_time(moment: datetime) -> str:
    """Write RFC 3339 in UTC with microseconds; a naive time is UTC."""
    aware = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return aware.isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def _are_usual(required: Sequence[str], optional: Sequence[str]) -> bool:
    """Whether attributes are text in ASCII that is short all together: told of all of them at once."""
    try:
        text = "".join(required) + "".join(optional)
    except TypeError:
        return False
    return len(text) <= ATTRIBUTE_LIMIT and text.isascii() and all(required) and all(optional)


def _check_attribute(field: str, value: object) -> None:
    if not isinstance(value, str) or not value:
        raise InvalidEvent(field, "is missing")
    if len(value) > ATTRIBUTE_LIMIT:
        raise InvalidEvent(field, f"is {len(value)} characters long; {ATTRIBUTE_LIMIT} is the limit")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise InvalidEvent(field, "holds a lone surrogate, which is not Unicode text") from error


def _check_extensions(extensions: dict[str, Extension]) -> None:
    """Refuse what would overwrite an attribute of the entry, or make it too wide for one command of a script."""
    if len(extensions) > _EXTENSIONS_LIMIT:
        raise InvalidEvent("extensions", f"are {len(extensions)}; {_EXTENSIONS_LIMIT} is the limit")
    for name, value in extensions.items():
        foreign = name.removeprefix(_FOREIGN_FIELD)
        if name in _TAKEN or (foreign != name and (foreign in _TAKEN_FIELDS or foreign.startswith("ce_"))):
            raise InvalidEvent("extensions", f"{quoted(name)} is the name of something else")
        if isinstance(value, int) and not -_INTEGERS <= value < _INTEGERS:
            raise InvalidEvent("extensions", f"{quoted(name)} is over 32 bits, a CloudEvent's limit; write it as text")
        for text in (name, "not text" if isinstance(value, int) else "empty" if value == "" else value):
            try:
                _check_attribute("extensions", text)
            except InvalidEvent as error:
                raise InvalidEvent("extensions", f"{quoted(name)} {error.problem}") from error


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
