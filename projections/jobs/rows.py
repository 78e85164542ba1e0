"""An event as a line of COPY's text format: https://www.postgresql.org/docs/current/sql-copy.html"""

import json
import math
import re

import msgspec

from projections.job_result import NULL, JobResult, decode_job_result, decode_members, text_or_none
from streams.errors import InvalidEvent
from streams.events import Recorded, parse_time

_ABSENT = b"\\N"
_NUL_ESCAPE = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_INTEGER = msgspec.json.Decoder(int)
_FLOAT = msgspec.json.Decoder(float)
_RAW = msgspec.json.Decoder(msgspec.Raw)
_INT4, _INT8 = 2**31, 2**63


class _Answer(msgspec.Struct):
    """What is read of a result; the rest is skipped, but checked."""

    model: msgspec.Raw = NULL
    usage: msgspec.Raw = NULL


class _Usage(msgspec.Struct):
    prompt_tokens: msgspec.Raw = NULL
    completion_tokens: msgspec.Raw = NULL
    total_tokens: msgspec.Raw = NULL


class Row(msgspec.Struct, frozen=True):
    """A row as COPY takes it; `order` decides which of two rows of one job stands."""

    job_id: str
    order: str
    line: bytes


_ANSWER = msgspec.json.Decoder(_Answer)
_USAGE = msgspec.json.Decoder(_Usage)


def row(recorded: Recorded, *, plain: bool = False) -> Row:
    """Make the row of an event; a `plain` one holds no jsonb, for what Postgres refused as such.

    A value that has no place in its column, such as a time that is none, is NULL; the event log keeps it.

    Raises:
        InvalidEvent: the payload has no job_id, or it or the event's id cannot be stored as text.
    """
    event = recorded.event
    payload = decode_job_result(event.data)
    _check_identity("data.job_id", payload.job_id)
    _check_identity("id", event.id)
    order = str(recorded.order)
    result, result_text, answer = _result(bytes(payload.result), plain=plain)
    fields = (
        _text(payload.job_id),
        _text(payload.scraper_id),
        _text(payload.status),
        _time(payload.created_at),
        _time(text_or_none(payload.completed_at)),
        _seconds(payload.processing_time),
        _text(text_or_none(answer.model) or payload.model),
        *_tokens(answer.usage),
        _text(payload.source_url),
        result,
        result_text,
        _error(payload),
        _integer(payload.retry_count, _INT4),
        _ABSENT if plain else _job(bytes(payload.job)),
        _text(event.id),
        _text(event.type),
        str(recorded.position).encode(),
        order.encode(),
    )
    return Row(payload.job_id, order, b"\t".join(fields) + b"\n")


def _result(raw: bytes, *, plain: bool) -> tuple[bytes, bytes, _Answer]:
    """The columns `result` and `result_text`, and what the answer says about itself."""
    if raw == b"null":
        return _ABSENT, _ABSENT, _Answer()
    if not raw.startswith(b'"'):
        answer = _answer(raw)
        if answer is None or plain:
            return _ABSENT, _literal(raw), answer or _Answer()
        return _escaped(raw), _ABSENT, answer
    text = text_or_none(msgspec.Raw(raw)) or ""
    try:
        content = text.encode()
    except UnicodeEncodeError:
        return _ABSENT, _literal(raw), _Answer()
    if not plain and content.lstrip()[:1] in (b"{", b"["):
        answer = _answer(content)
        if answer is not None:
            return _escaped(content), _ABSENT, answer
    return _ABSENT, _literal(raw) if b"\0" in content else _escaped(content), _Answer()


def _answer(raw: bytes) -> _Answer | None:
    """None where jsonb cannot hold the JSON: NUL, lone surrogates, NaN, nesting deeper than its parser's stack."""
    if b"\\u0000" in raw and _NUL_ESCAPE.search(raw):
        return None
    try:
        if raw.lstrip()[:1] == b"{":
            return _ANSWER.decode(raw)
        _RAW.decode(raw)
    except (ValueError, RecursionError):
        return None
    return _Answer()


def _job(raw: bytes) -> bytes:
    return _ABSENT if raw == b"null" or _answer(raw) is None else _escaped(raw)


def _error(payload: JobResult) -> bytes:
    raw = bytes(payload.error)
    if raw == b"null":
        return _ABSENT
    return _text(text_or_none(payload.error) or "") if raw.startswith(b'"') else _literal(raw)


def _tokens(usage: msgspec.Raw) -> tuple[bytes, bytes, bytes]:
    if usage is NULL:
        return _ABSENT, _ABSENT, _ABSENT
    members = _USAGE.decode(usage) if decode_members(usage) is not None else _Usage()
    return (
        _integer(members.prompt_tokens, _INT8),
        _integer(members.completion_tokens, _INT8),
        _integer(members.total_tokens, _INT8),
    )


def _integer(raw: msgspec.Raw, limit: int) -> bytes:
    try:
        number = _INTEGER.decode(raw)
    except (ValueError, RecursionError):
        return _ABSENT
    return str(number).encode() if -limit <= number < limit else _ABSENT


def _seconds(raw: msgspec.Raw) -> bytes:
    try:
        number = _FLOAT.decode(raw)
    except (ValueError, RecursionError):
        return _ABSENT
    return repr(number).encode() if math.isfinite(number) else _ABSENT


def _time(text: str | None) -> bytes:
    if text is None:
        return _ABSENT
    try:
        return parse_time(text).isoformat().encode()
    except InvalidEvent:
        return _ABSENT


def _text(text: str | None) -> bytes:
    """Text, or its JSON literal where Postgres cannot hold it."""
    if text is None:
        return _ABSENT
    if "\0" not in text:
        try:
            return _escaped(text.encode())
        except UnicodeEncodeError:
            pass
    return _escaped(json.dumps(text).encode())


def _literal(raw: bytes) -> bytes:
    """JSON as the text it is; escapes stay escapes, so it holds no NUL."""
    return _escaped(raw.decode("utf-8", "backslashreplace").encode())


def _escaped(content: bytes) -> bytes:
    if b"\\" in content:
        content = content.replace(b"\\", b"\\\\")
    if b"\n" in content:
        content = content.replace(b"\n", b"\\n")
    if b"\t" in content:
        content = content.replace(b"\t", b"\\t")
    if b"\r" in content:
        content = content.replace(b"\r", b"\\r")
    return content


def _check_identity(field: str, value: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InvalidEvent(field, "holds a lone surrogate, which Postgres cannot store") from error
    if "\0" in value:
        raise InvalidEvent(field, "holds NUL, which Postgres cannot store")
