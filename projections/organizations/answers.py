"""A job's result as data, whatever a model wrapped it in, or the reason why it is none."""

import json
import re
from collections.abc import Iterator
from typing import Any, Literal, cast

import msgspec

from playhead.projections.organizations.budget import Budget, BudgetSpent, MeteredText
from playhead.streams.members import text_or_none
from playhead.streams.nesting import is_too_deep

Reason = Literal["empty", "text", "not about an organization", "not readable", "too costly to repair"]
"""Why a result gives no organization: it is null or blank, prose, about something else, broken beyond repair, or broken
in a way that might take minutes.
"""

REPAIR_LIMIT = 50_000
"""Characters of text that a repair is tried on: it takes seconds if a model wrote megabytes."""
REPAIR_READS = 1_500_000
"""Characters that the repairs of one result may look at: seldom more than three times its own, for hostile text the
cube of them.
"""

_DEPTH = 30
"""Brackets that may be open at once in a text to be repaired: the time a repair takes grows with their square."""
_ANY = msgspec.json.Decoder()
_FENCE = re.compile(r"```[a-zA-Z]*\s*\n?(.*?)(?:```|\Z)", re.DOTALL)
_OPENERS = ("{", "[")
_BRACKET = re.compile(r"[{}\[\]]")


class Answer(msgspec.Struct, frozen=True):
    """What a result holds: `value` is None if `reason` says why; `repaired` if its JSON was broken."""

    value: Any
    reason: Reason | None = None
    repaired: bool = False


def read_answer(result: bytes) -> Answer:
    """Read a result, JSON as the event has it: data itself, or text that holds data."""
    if not result.isascii():
        result = result.decode("utf-8", "replace").encode()
    if result == b"null":
        return Answer(None, "empty")
    if not result.startswith(b'"'):
        return _value(result.decode(), None)
    text = text_or_none(msgspec.Raw(result))
    return read_text(text or "", Budget(REPAIR_READS))


def read_text(text: str, budget: Budget) -> Answer:
    """Read text as JSON: all of it, what stands in a Markdown fence, or what a repair within the budget makes of it."""
    text = text.strip().removeprefix("\ufeff")
    if not text:
        return Answer(None, "empty")
    if text.startswith(_OPENERS):
        return _value(text, budget)
    reasons: set[Reason | None] = set()
    for part in _parts(text):
        found = _value(part, budget)
        if found.value is not None:
            return found
        reasons.add(found.reason)
    return Answer(None, "too costly to repair" if "too costly to repair" in reasons else "text")


def _parts(text: str) -> Iterator[str]:
    """What stands in Markdown fences, then what stands between the first and the last bracket."""
    yield from (block.strip() for block in _FENCE.findall(text))
    starts = [text.find(opener) for opener in _OPENERS if opener in text]
    if starts:
        yield text[min(starts) : max(text.rfind("}"), text.rfind("]")) + 1]


def _value(text: str, budget: Budget | None) -> Answer:
    """Read JSON, repaired if there is a budget for it."""
    if not text.startswith(_OPENERS):
        return Answer(None, "text")
    if is_too_deep(text.encode(errors="replace")):
        return Answer(None, "not readable")
    try:
        return Answer(_ANY.decode(text))
    except (ValueError, RecursionError):
        pass
    try:
        return Answer(json.loads(text, strict=False, parse_constant=_none))
    except RecursionError:
        return Answer(None, "not readable")
    except ValueError:
        return Answer(None, "not readable") if budget is None else _repaired(text, budget)


def _repaired(text: str, budget: Budget) -> Answer:
    if len(text) > REPAIR_LIMIT or _depth(text) > _DEPTH:
        return Answer(None, "too costly to repair")
    from json_repair import repair_json

    try:
        value = cast("object", repair_json(MeteredText(text, budget), return_objects=True, skip_json_loads=True))
    except BudgetSpent:
        return Answer(None, "too costly to repair")
    except (ValueError, RecursionError, IndexError, TypeError):
        return Answer(None, "not readable")
    if not isinstance(value, dict | list) or not value:
        return Answer(None, "not readable")
    return Answer(json.loads(json.dumps(value)), repaired=True)  # plain text, in place of parts of the metered one


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
