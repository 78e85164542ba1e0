"""Options that several commands share."""

import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from playhead.streams.errors import InvalidEvent, InvalidSetting
from playhead.streams.events import parse_date_or_time

DataDir = Annotated[
    Path | None, Parameter("--data-dir", help="Directory of the embedded servers and all data (PLAYHEAD_DATA_DIR).")
]
Json = Annotated[bool, Parameter("--json", negative=(), help="Print JSON.")]

_AGO = re.compile(r"(\d{1,9}) (second|minute|hour|day|week)s? ago", re.ASCII | re.IGNORECASE)
_LONGEST = 1e9
"""Seconds, 30 years: more than a time can go back."""


def moment(option: str, text: str | None) -> datetime | None:
    """Read a date, an RFC 3339 time, which without an offset is UTC, or a time ago such as `2 hours ago`.

    Raises:
        InvalidSetting: it is none of them; names the option.
    """
    if text is None:
        return None
    if ago := _AGO.fullmatch(text.strip()):
        with suppress(OverflowError):
            return datetime.now(UTC) - timedelta(**{f"{ago[2].lower()}s": int(ago[1])})
    try:
        return parse_date_or_time(text)
    except InvalidEvent as error:
        raise InvalidSetting(
            f"{option} takes a date, an RFC 3339 time, or a time ago such as '2 hours ago': {error.problem}"
        ) from error


def not_negative(option: str, seconds: float | None) -> None:
    """Take a number of seconds from 0 up, or none.

    Raises:
        InvalidSetting: it is another number; names the option.
    """
    if seconds is not None and not 0 <= seconds <= _LONGEST:
        raise InvalidSetting(f"{option} takes a number of seconds from 0 up, such as 300")
