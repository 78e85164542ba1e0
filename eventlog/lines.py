"""The line codec: `{"position":"<id>","crc32c":"<8 hex>","event":<CloudEvents JSON>}` and a line feed.

The checksum covers the position's bytes, then the event's. The payload stands last in the event as it came and is never
parsed. JSON strings escape quotes, so the first `,"data":` is where it begins.
"""

import crc32c
import msgspec

from playhead.eventlog.errors import BadLine
from playhead.streams.errors import InvalidEvent
from playhead.streams.events import Event, Extension, Recorded, one_line
from playhead.streams.positions import Position
from playhead.streams.printable import quoted

LINE_LIMIT = 256 * 1024 * 1024
"""Bytes a line may have; a longer one is damage, or a decompression bomb."""

_HEAD = b'{"position":"'
_CHECKSUM = b'","crc32c":"'
_EVENT = b'","event":'
_ID = _EVENT + b'{"specversion":"1.0","id":"'
_SEQUENCE = b',"sequence":"'
_DATA = b',"data":'
_LAST = b"}\n"
_END = b"}" + _LAST
_HEX_DIGITS = 8
_SEQUENCE_DIGITS = 19

_KNOWN = frozenset(
    {
        *("specversion", "id", "source", "type", "time", "subject"),
        *("dataschema", "correlationid", "causationid", "traceparent", "tracestate", "imported", "sequence", "data"),
    }
)
_ESCAPE = "ext_"
"""Prefix of an extension whose own name would read as a known member, or as an escaped one."""


class _Attributes(msgspec.Struct, frozen=True, omit_defaults=True, gc=False, forbid_unknown_fields=True):
    specversion: str
    id: str
    source: str
    type: str
    time: str
    subject: str
    dataschema: str | None = None
    correlationid: str | None = None
    causationid: str | None = None
    traceparent: str | None = None
    tracestate: str | None = None
    imported: str | None = None
    sequence: str | None = None


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Attributes).decode
_decode_any = msgspec.json.Decoder(dict[str, Extension]).decode


def encode_line(recorded: Recorded) -> bytes:
    """Write an event as one line with its line feed.

    Raises:
        UnicodeEncodeError: an attribute holds a lone surrogate, which is not Unicode text.
    """
    return b"".join(line_parts(recorded))


def line_parts(recorded: Recorded) -> tuple[bytes, bytes, bytes]:
    """The line of an event as what stands before its payload, the payload and the end: nothing large is copied.

    Raises:
        UnicodeEncodeError: an attribute holds a lone surrogate, which is not Unicode text.
    """
    event = recorded.event
    attributes = _encode(
        _Attributes(
            "1.0",
            event.id,
            event.source,
            event.type,
            event.time,
            event.subject,
            event.dataschema,
            event.correlationid,
            event.causationid,
            event.traceparent,
            event.tracestate,
            event.imported,
        )
    )[:-1]
    if event.extensions:
        attributes += b"," + _encode({_escaped(name): value for name, value in event.extensions.items()})[1:-1]
    if recorded.sequence is not None:
        attributes += b',"sequence":"%016d"' % recorded.sequence
    attributes += _DATA
    data = one_line(event.data)
    position = b"%d-%d" % (recorded.position.milliseconds, recorded.position.counter)
    checksum = crc32c.crc32c(b"}", crc32c.crc32c(data, crc32c.crc32c(attributes, crc32c.crc32c(position))))
    return b"%b%b%b%08x%b%b" % (_HEAD, position, _CHECKSUM, checksum, _EVENT, attributes), data, _END


def decode_line(line: bytes) -> Recorded:
    """Read what `encode_line` wrote, and nothing else.

    Raises:
        BadLine: with what is wrong.
    """
    position = position_of(line)
    if not line.endswith(_END):
        raise BadLine("the line has no end")
    position_end = line.index(b'"', len(_HEAD))
    checksum_start = position_end + len(_CHECKSUM)
    checksum_end = checksum_start + _HEX_DIGITS
    event_start = checksum_end + len(_EVENT)
    if line[position_end:checksum_start] != _CHECKSUM or line[checksum_end:event_start] != _EVENT:
        raise BadLine("it is not an object of position, crc32c and event")
    covered = memoryview(line)[event_start : -len(_LAST)]
    checksum = b"%08x" % crc32c.crc32c(covered, crc32c.crc32c(line[len(_HEAD) : position_end]))
    if line[checksum_start:checksum_end] != checksum:
        found = line[checksum_start:checksum_end].decode("ascii", "backslashreplace")
        raise BadLine(f"its checksum is {found}, that of its content {checksum.decode()}")
    attributes_end = line.find(_DATA, event_start)
    data_start = attributes_end + len(_DATA)
    if attributes_end < 0 or data_start > len(line) - len(_END):
        raise BadLine("its event has no data")
    return _recorded(line[event_start:attributes_end] + b"}", line[data_start : -len(_END)], position)


def position_of(line: bytes) -> Position:
    """Read the position alone, without the checksum.

    Raises:
        BadLine: the line does not begin with a position.
    """
    end = line.find(b'"', len(_HEAD), len(_HEAD) + 40)
    if end < 0 or not line.startswith(_HEAD):
        raise BadLine("it does not begin with a position")
    try:
        return Position.parse(line[len(_HEAD) : end])
    except InvalidEvent as error:
        raise BadLine(str(error)) from error


def event_id_of(line: bytes) -> str:
    """Read the event's id alone, without the checksum.

    Raises:
        BadLine: the line does not begin as `encode_line` begins one.
    """
    start = line.find(b'"', len(_HEAD)) + len(_CHECKSUM) + _HEX_DIGITS
    if not line.startswith(_ID, start):
        raise BadLine("it does not begin with position, crc32c and the id of its event")
    start += len(_ID)
    end = line.find(b'"', start)
    if b"\\" not in line[start:end]:
        return line[start:end].decode("utf-8", "replace")
    try:
        return msgspec.json.decode(line[start - 1 : _string_end(line, start)], type=str)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadLine(f"its event has no id that can be read: {error}") from error


def sequence_of(line: bytes) -> int | None:
    """Read the sequence number alone, without the checksum; None if there is none."""
    end = line.find(_DATA)
    start = line.rfind(_SEQUENCE, 0, end) if end > 0 else -1
    digits = line[start + len(_SEQUENCE) : end - 1]
    return int(digits) if start >= 0 and line[end - 1 : end] == b'"' and digits.isdigit() else None


def position_if_readable(line: bytes) -> Position | None:
    """The position of a line that may be damaged."""
    try:
        return position_of(line)
    except BadLine:
        return None


def holds_whole_line(torn: bytes) -> bool:
    """Whether a whole, good line stands at the end of damaged bytes; then no crash tore them."""
    start = torn.find(_HEAD, 1)
    while start >= 0:
        try:
            decode_line(torn[start:])
        except BadLine:
            start = torn.find(_HEAD, start + 1)
        else:
            return True
    return False


def _recorded(attributes: bytes, data: bytes, position: Position) -> Recorded:
    extensions: dict[str, Extension] = {}
    try:
        known = _decode(attributes)
    except (msgspec.DecodeError, UnicodeDecodeError):
        known, extensions = _recorded_with_extensions(attributes)
    if known.specversion != "1.0":
        raise BadLine("its event is not CloudEvents 1.0")
    sequence = known.sequence
    if sequence is not None and not (sequence.isascii() and sequence.isdecimal() and len(sequence) <= _SEQUENCE_DIGITS):
        raise BadLine(f"its sequence {quoted(sequence)} is not a number")
    event = Event(
        id=known.id,
        source=known.source,
        type=known.type,
        time=known.time,
        subject=known.subject,
        data=data,
        dataschema=known.dataschema,
        correlationid=known.correlationid,
        causationid=known.causationid,
        traceparent=known.traceparent,
        tracestate=known.tracestate,
        imported=known.imported,
        extensions=extensions,
    )
    return Recorded(event, position, None if sequence is None else int(sequence))


def _string_end(line: bytes, start: int) -> int:
    """Where the JSON string ends whose content starts here, its quote included."""
    while line[start : start + 1] not in {b'"', b""}:
        start += 2 if line[start : start + 1] == b"\\" else 1
    return start + 1


def _recorded_with_extensions(attributes: bytes) -> tuple[_Attributes, dict[str, Extension]]:
    try:
        members = _decode_any(attributes)
        known = msgspec.convert({name: members.pop(name) for name in _KNOWN & members.keys()}, _Attributes)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadLine(f"its event cannot be read: {error}") from error
    return known, {name.removeprefix(_ESCAPE): value for name, value in members.items()}


def _escaped(name: str) -> str:
    return _ESCAPE + name if name in _KNOWN or name.startswith(_ESCAPE) else name
