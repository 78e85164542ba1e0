"""An event as a line of COPY's text format: https://www.postgresql.org/docs/current/sql-copy.html"""

import json
import math
import re
from collections.abc import Iterable
from datetime import datetime

import msgspec

from playhead.projections.jobs.result import (
    NULL,
    JobResult,
    decode_job_result,
    decode_members,
    integer_or_none,
    text_or_none,
)
from playhead.streams.errors import InvalidEvent
from playhead.streams.events import Recorded, parse_date_or_time
from playhead.streams.jobs.outcomes import is_error
from playhead.streams.nesting import is_too_deep

_ABSENT, _NEXT, _END = b"\xff", b"\xfe", b"\xfd"
"""Bytes that UTF-8 never holds, so that many rows are escaped at once."""
_ESCAPES = (
    (b"\\", b"\\\\"),
    (b"\n", b"\\n"),
    (b"\t", b"\\t"),
    (b"\r", b"\\r"),
    (_ABSENT, b"\\N"),
    (_NEXT, b"\t"),
    (_END, b"\n"),
)
_POSTGRES_TIME = re.compile(r"\d{4}-\d\d-\d\dT([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,6})?Z?", re.ASCII)
"""Times that Postgres reads as we do; its time zone is UTC here."""
_NUL_ESCAPE = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_RAW = msgspec.json.Decoder(msgspec.Raw)
_INT4, _INT8 = 2**31, 2**63


class _Usage(msgspec.Struct, gc=False):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None


class _Answer(msgspec.Struct, gc=False):
    """What is read of a result; the rest is skipped, but checked."""

    model: str | None = None
    usage: _Usage | None = None


class _LooseUsage(msgspec.Struct):
    prompt_tokens: msgspec.Raw = NULL
    completion_tokens: msgspec.Raw = NULL
    total_tokens: msgspec.Raw = NULL


class _LooseAnswer(msgspec.Struct):
    model: msgspec.Raw = NULL
    usage: msgspec.Raw = NULL


class Row(msgspec.Struct, frozen=True):
    """What becomes a row; `order` decides which of two rows of one job stands.

    `fit` says that the payload surely holds nothing that jsonb refuses in JSON that msgspec skips.
    """

    job_id: str
    order: str
    recorded: Recorded
    payload: JobResult
    fit: bool


_ANSWER = msgspec.json.Decoder(_Answer)
_LOOSE_ANSWER = msgspec.json.Decoder(_LooseAnswer)
_LOOSE_USAGE = msgspec.json.Decoder(_LooseUsage)
_NO_ANSWER, _NO_USAGE = _Answer(), _Usage()


def row(recorded: Recorded) -> Row:
    """Read an event.

    Raises:
        InvalidEvent: the payload has no job_id, or it or the event's id cannot be stored as text.
    """
    data = recorded.event.data
    payload = decode_job_result(data)
    _check_identity("data.job_id", payload.job_id)
    _check_identity("id", recorded.event.id)
    return Row(payload.job_id, str(recorded.order), recorded, payload, data.isascii() and b"\\u0000" not in data)


def copy_lines(rows: Iterable[Row], *, plain: bool = False) -> bytes:
    """Rows as COPY takes them. `plain` ones hold no jsonb, for what Postgres refused as such.

    A value that has no place in its column, such as a time that is none, is NULL; the event log keeps it.
    """
    content = _END.join([*(_fields(each, plain=plain) for each in rows), b""])
    for found, written in _ESCAPES:
        content = content.replace(found, written)
    return content


def _fields(each: Row, *, plain: bool) -> bytes:
    event, payload = each.recorded.event, each.payload
    result, result_text, answer = _result(bytes(payload.result), plain=plain, fit=each.fit)
    usage = answer.usage or _NO_USAGE
    return _NEXT.join(
        (
            payload.job_id.encode(),
            _text(payload.scraper_id),
            _text(payload.status),
            _time(payload.created_at),
            _time(payload.completed_at),
            _seconds(payload.processing_time),
            _text(answer.model or payload.model),
            _number(usage.prompt_tokens, _INT8),
            _number(usage.completion_tokens, _INT8),
            _number(usage.total_tokens, _INT8),
            _text(payload.source_url),
            result,
            result_text,
            _error(payload),
            _number(payload.retry_count, _INT4),
            _ABSENT if plain else _job(payload, fit=each.fit),
            event.id.encode(),
            _text(event.type),
            str(each.recorded.position).encode(),
            each.order.encode(),
        )
    )


def _result(raw: bytes, *, plain: bool, fit: bool) -> tuple[bytes, bytes, _Answer]:
    """The columns `result` and `result_text`, and what the answer says about itself."""
    if raw == b"null":
        return _ABSENT, _ABSENT, _NO_ANSWER
    if not raw.startswith(b'"'):
        answer = _answer(raw, fit=fit)
        if answer is None or plain:
            return _ABSENT, _literal(raw), answer or _NO_ANSWER
        return raw, _ABSENT, answer
    text = text_or_none(msgspec.Raw(raw)) or ""
    try:
        content = text.encode()
    except UnicodeEncodeError:
        return _ABSENT, _literal(raw), _NO_ANSWER
    if not plain and content.lstrip()[:1] in (b"{", b"["):
        answer = _answer(content, fit=fit)
        if answer is not None:
            return content, _ABSENT, answer
    return _ABSENT, _literal(raw) if b"\0" in content else content, _NO_ANSWER


def _answer(raw: bytes, *, fit: bool) -> _Answer | None:
    """None if jsonb cannot hold the JSON: NUL, lone surrogates, NaN, nesting deeper than Playhead's limit."""
    if (not fit and _is_unfit(raw)) or is_too_deep(raw):
        return None
    try:
        if raw.lstrip()[:1] == b"{":
            return _ANSWER.decode(raw)
        _RAW.decode(raw)
    except msgspec.ValidationError:
        return _loose_answer(raw)
    except (ValueError, RecursionError):
        return None
    return _NO_ANSWER


def _loose_answer(raw: bytes) -> _Answer:
    """An object with members of other types than usual."""
    loose = _LOOSE_ANSWER.decode(raw)
    usage = _LOOSE_USAGE.decode(loose.usage) if decode_members(loose.usage) is not None else _LooseUsage()
    return _Answer(
        text_or_none(loose.model),
        _Usage(
            integer_or_none(usage.prompt_tokens),
            integer_or_none(usage.completion_tokens),
            integer_or_none(usage.total_tokens),
        ),
    )


def _job(payload: JobResult, *, fit: bool) -> bytes:
    raw = bytes(payload.job)
    if raw == b"null" or (not fit and _is_unfit(raw)) or (not payload.strict and _answer(raw, fit=fit) is None):
        return _ABSENT
    return raw


def _is_unfit(raw: bytes) -> bool:
    """Whether it holds NUL, or is not UTF-8: what msgspec does not see in JSON that it skips."""
    if not raw.isascii():
        try:
            raw.decode()
        except UnicodeDecodeError:
            return True
    return b"\\u0000" in raw and _NUL_ESCAPE.search(raw) is not None


def _error(payload: JobResult) -> bytes:
    raw = bytes(payload.error)
    if not is_error(raw):
        return _ABSENT
    return _text(text_or_none(payload.error) or "") if raw.startswith(b'"') else _literal(raw)


def _number(number: int | None, limit: int) -> bytes:
    return b"%d" % number if number is not None and -limit <= number < limit else _ABSENT


def _seconds(number: float | None) -> bytes:
    return repr(number).encode() if number is not None and math.isfinite(number) else _ABSENT


def _time(text: str | None) -> bytes:
    if text is None:
        return _ABSENT
    try:
        if _POSTGRES_TIME.fullmatch(text):
            datetime.fromisoformat(text)
            return text.encode()
        return parse_date_or_time(text).isoformat().encode()
    except ValueError:  # InvalidEvent is one
        return _ABSENT


def _text(text: str | None) -> bytes:
    """Text, or its JSON literal if Postgres cannot hold it."""
    if text is None:
        return _ABSENT
    if "\0" not in text:
        try:
            return text.encode()
        except UnicodeEncodeError:
            pass
    return json.dumps(text).encode()


def _literal(raw: bytes) -> bytes:
    """JSON as the text it is; escapes stay escapes, so it holds no NUL."""
    return raw.decode("utf-8", "backslashreplace").encode()


def _check_identity(field: str, value: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InvalidEvent(field, "holds a lone surrogate, which Postgres cannot store") from error
    if "\0" in value:
        raise InvalidEvent(field, "holds NUL, which Postgres cannot store")
