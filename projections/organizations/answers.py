"""A job's result as data, whatever a model wrapped it in, or the reason why it is none."""

import json
import re
from typing import Any, Literal, cast

import msgspec

from projections.job_result import text_or_none

Reason = Literal["empty", "text", "not about an organization", "not readable"]
"""Why a result gives no organization: it is null or blank, prose, about something else, or broken beyond repair."""

REPAIR_LIMIT = 50_000
"""Characters of text that a repair is tried on: it takes seconds where a model wrote megabytes."""

_DEPTH = 30
"""Brackets that may be open at once in a text to be repaired: the time a repair takes grows with their square."""
_ANY = msgspec.json.Decoder()
_FENCE = re.compile(r"```[a-zA-Z]*\s*\n?(.*?)(?:```|\Z)", re.DOTALL)
_OPENERS = ("{", "[")
_BRACKET = re.compile(r"[{}\[\]]")


class Answer(msgspec.Struct, frozen=True):
    """What a result holds: `value` is None where `reason` says why; `repaired` where its JSON was broken."""

    value: Any
    reason: Reason | None = None
    repaired: bool = False


def read_answer(result: bytes) -> Answer:
    """Read a result, JSON as the event has it: data itself, or text that holds data."""
    if result == b"null":
        return Answer(None, "empty")
    if not result.startswith(b'"'):
        return _value(result.decode("utf-8", "replace"), repair=False)
    text = text_or_none(msgspec.Raw(result))
    return read_text(text or "")


def read_text(text: str) -> Answer:
    """Read text as JSON: all of it, what stands in a Markdown fence, or what a repair makes of it."""
    text = text.strip().removeprefix("\ufeff")
    if not text:
        return Answer(None, "empty")
    if text.startswith(_OPENERS):
        return _value(text, repair=True)
    for block in _FENCE.findall(text):
        found = _value(block.strip(), repair=True)
        if found.value is not None:
            return found
    starts = [text.find(opener) for opener in _OPENERS if opener in text]
    if not starts:
        return Answer(None, "text")
    found = _value(text[min(starts) : max(text.rfind("}"), text.rfind("]")) + 1], repair=True)
    return found if found.value is not None else Answer(None, "text")


def _value(text: str, *, repair: bool) -> Answer:
    if not text.startswith(_OPENERS):
        return Answer(None, "text")
    try:
        return Answer(_ANY.decode(text))
    except (ValueError, RecursionError):
        pass
    try:
        return Answer(json.loads(text, strict=False, parse_constant=_none))
    except RecursionError:
        return Answer(None, "not readable")
    except ValueError:
        return _repaired(text) if repair else Answer(None, "not readable")


def _repaired(text: str) -> Answer:
    if len(text) > REPAIR_LIMIT or _depth(text) > _DEPTH:
        return Answer(None, "not readable")
    from json_repair import repair_json

    try:
        value = cast("object", repair_json(text, return_objects=True, skip_json_loads=True))
    except (ValueError, RecursionError, IndexError, TypeError):
        return Answer(None, "not readable")
    if not isinstance(value, dict | list) or not value:
        return Answer(None, "not readable")
    return Answer(value, repaired=True)


def _depth(text: str) -> int:
    """How many brackets are open at once; those in strings count, and one of the other kind closes none."""
    deepest, still_open = 0, {"{": 0, "[": 0}
    for mark in _BRACKET.findall(text):
        if mark in still_open:
            still_open[mark] += 1
            deepest = max(deepest, sum(still_open.values()))
        else:
            opener = "{" if mark == "}" else "["
            still_open[opener] = max(0, still_open[opener] - 1)
    return deepest


def _none(_: str) -> None:
    """NaN and the infinities, which are not JSON."""
