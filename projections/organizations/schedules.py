"""Opening hours as models write them, as rows of the Human Services Data Specification's schedule."""

import re
from collections.abc import Iterator
from datetime import date

import msgspec

from playhead.projections.organizations.values import Object, first, objects, strings, text

DAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
LIMIT = 500
"""Rows that one list of schedules gives at most."""

_NAMES = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY = re.compile(
    r"\b(mon(?:day)?|tue(?:s(?:day)?)?|wed(?:nesday)?|thu(?:r(?:s(?:day)?)?)?|fri(?:day)?|sat(?:urday)?|sun(?:day)?)s?\b",
    re.IGNORECASE,
)
_RANGE = re.compile(_DAY.pattern + r"\.?\s*(?:-|\u2013|to|through|thru)\s*" + _DAY.pattern, re.IGNORECASE)
_CODE = re.compile(r"(?<![A-Za-z])([+-]?\d{0,2})\s?(MO|TU|WE|TH|FR|SA|SU)(?![A-Za-z])")
_TIME = re.compile(r"(?:^|[T\s])(\d{1,2})(?::(\d\d))?(?::\d\d(?:\.\d+)?)?\s*([ap])?\.?m?\.?", re.IGNORECASE)
_DATE = re.compile(r"(\d{4}-\d\d-\d\d)")
_NEGATION = re.compile(r"\b(closed|except|not open|excluding)\b", re.IGNORECASE)
_DAY_MEMBERS = (
    "byday", "by_day", "byweekday", "days", "days_of_week", "day_of_week", "day", "weekday", "weekdays", "open_days",
    "days_open", "weekday_open", "full_days_open", "wkdy",
)  # fmt: skip
_OPENS = ("opens_at", "start_time", "open_time", "time_open", "time_start", "opens", "open", "start", "from")
_CLOSES = ("closes_at", "end_time", "close_time", "time_close", "time_end", "closes", "close", "end", "to")
_STARTS = ("valid_from", "start_date", "date", "dtstart", "effective_date", "open_date", "exception_date")
_ENDS = ("valid_to", "end_date", "until", "dtend", "close_date")
_DATES = ("dates", "event_dates", "recurring_dates", "schedule_dates")
_RULES = ("rrule", "recurrence_rule", "recurrence")
_DEPTH = 5
_NOON = 12
_HOURS, _MINUTES = 24, 60


class Schedule(msgspec.Struct, frozen=True, omit_defaults=True):
    """When something is open, in the terms of RFC 5545; dates are YYYY-MM-DD, times HH:MM in local time."""

    freq: str | None = None
    interval: int | None = None
    byday: str | None = None
    bymonthday: str | None = None
    wkst: str | None = None
    dtstart: str | None = None
    until: str | None = None
    opens_at: str | None = None
    closes_at: str | None = None
    valid_from: str | None = None
    valid_to: str | None = None
    description: str | None = None


def schedules(value: object) -> list[Schedule]:
    """Read opening hours: a list, an object, lists in objects, or text."""
    found: dict[Schedule, None] = {}
    for words in strings(value):
        found[Schedule(byday=_days_in(words), description=words)] = None
    for members in objects(value):
        for schedule in _read(members, Schedule(), _DEPTH):
            found[schedule] = None
            if len(found) >= LIMIT:
                return list(found)
    return list(found)


def _read(members: Object, outer: Schedule, depth: int) -> Iterator[Schedule]:
    own = _own(members, outer)
    inner = [one for name, value in members.items() if name != "exceptions" for one in _nested(name, value)]
    read = False
    if depth:
        for one in inner:
            for schedule in _read(one, own, depth - 1):
                read = True
                yield schedule
    if read:
        return
    days = [day for name in _DATES for day in strings(members.get(name)) if _DATE.match(day)]
    if days:
        for day in days[:LIMIT]:
            yield _complete(msgspec.structs.replace(own, valid_from=_date(day), valid_to=_date(day)))
    elif own.byday or own.opens_at or own.valid_from or own.description or own.bymonthday:
        yield _complete(own)


def _nested(name: str, value: object) -> Iterator[Object]:
    """Objects in a schedule that are schedules themselves."""
    if name in {"metadata", "location", "locations", "service", "services", *_OPENS, *_CLOSES, *_STARTS, *_ENDS}:
        return
    for members in objects(value):
        if any(member in members for member in (*_DAY_MEMBERS, *_OPENS, *_STARTS)):
            yield members


def _own(members: Object, outer: Schedule) -> Schedule:
    rule = _rule(members)
    days = [words for name in _DAY_MEMBERS for words in strings(members.get(name))]
    description = first(members, "description", "notes", "exception_note") or outer.description
    interval = first(members, "interval", "freq_interval") or rule.get("INTERVAL")
    freq = first(members, "freq", "frequency") or rule.get("FREQ")
    wkst = first(members, "wkst") or rule.get("WKST")
    return Schedule(
        freq=freq.upper() if freq and freq.upper() in {"DAILY", "WEEKLY", "MONTHLY", "YEARLY"} else outer.freq,
        interval=int(interval) if interval and interval.isdecimal() and len(interval) < 4 else outer.interval,  # noqa: PLR2004
        byday=_days_in(" , ".join(days)) or _days_in(rule.get("BYDAY", "")) or outer.byday,
        bymonthday=first(members, "bymonthday") or rule.get("BYMONTHDAY") or outer.bymonthday,
        wkst=wkst.upper() if wkst and wkst.upper() in DAYS else outer.wkst,
        opens_at=_time(members, _OPENS) or outer.opens_at,
        closes_at=_time(members, _CLOSES) or outer.closes_at,
        valid_from=_date_of(members, _STARTS) or _date(rule.get("DTSTART", "")) or outer.valid_from,
        valid_to=_date_of(members, _ENDS) or _date(rule.get("UNTIL", "")) or outer.valid_to,
        description=description,
    )


def _complete(schedule: Schedule) -> Schedule:
    """A single day is one occurrence, on its day of the week, whatever frequency stands beside it."""
    begin, end = schedule.valid_from, schedule.valid_to
    byday = schedule.byday
    if begin and (end or begin) == begin and (end or not byday):
        return msgspec.structs.replace(
            schedule, byday=DAYS[date.fromisoformat(begin).weekday()], dtstart=begin, until=end
        )
    if byday is None and schedule.freq == "DAILY":
        byday = ",".join(DAYS)
    if byday is None and schedule.description:
        byday = _days_in(schedule.description)
    return msgspec.structs.replace(schedule, byday=byday)


def _days_in(words: str) -> str | None:
    """Days named in text, as RFC 5545 has them: "Mon-Fri", "Tuesdays", "MO,WE", "2TU"."""
    if not words or _NEGATION.search(words):
        return None
    days: dict[str, None] = {}
    for begin, end in _RANGE.findall(words):
        one, other = _NAMES.index(begin[:3].lower()), _NAMES.index(end[:3].lower())
        for offset in range((other - one) % 7 + 1):
            days[DAYS[(one + offset) % 7]] = None
    for name in _DAY.findall(words):
        days[DAYS[_NAMES.index(name[:3].lower())]] = None
    for number, code in _CODE.findall(words):
        days[f"{number.lstrip('+')}{code}"] = None
    return ",".join(sorted(days, key=lambda day: (DAYS.index(day[-2:]), day))) or None


def _rule(members: Object) -> dict[str, str]:
    for name in _RULES:
        for words in strings(members.get(name)):
            parts = (part.partition("=") for part in words.upper().removeprefix("RRULE:").split(";"))
            found = {key.strip(): value.strip() for key, mark, value in parts if mark}
            if found:
                return found
    return {}


def _time(members: Object, names: tuple[str, ...]) -> str | None:
    for name in names:
        value = members.get(name)
        for words in [text(value), *(first(one, "time", "start_time", "end_time") for one in objects(value))]:
            found = _TIME.search(words) if words else None
            if found is None or (words and _DATE.fullmatch(words)):
                continue
            hour, minute, half = int(found[1]), int(found[2] or 0), (found[3] or "").lower()
            if half:
                hour = hour % _NOON + (_NOON if half == "p" else 0)
            if hour <= _HOURS and minute < _MINUTES and (found[2] or half):
                return f"{hour % _HOURS:02}:{minute:02}"
    return None


def _date_of(members: Object, names: tuple[str, ...]) -> str | None:
    for name in names:
        found = _date(first(members, name) or "")
        if found:
            return found
    return None


def _date(words: str) -> str | None:
    found = _DATE.match(words)
    if found is None and re.match(r"\d{8}(?!\d)", words):
        words = f"{words[:4]}-{words[4:6]}-{words[6:8]}"
        found = _DATE.match(words)
    try:
        return date.fromisoformat(found[1]).isoformat() if found else None
    except ValueError:
        return None
