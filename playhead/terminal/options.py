"""Options that several commands share."""

from datetime import datetime
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from playhead.streams.errors import InvalidEvent, InvalidSetting
from playhead.streams.events import parse_date_or_time

DataDir = Annotated[
    Path | None, Parameter("--data-dir", help="Directory of the embedded servers and all data (PLAYHEAD_DATA_DIR).")
]
Json = Annotated[bool, Parameter("--json", negative=(), help="Print JSON.")]

_LONGEST = 1e9
"""Seconds, 30 years: more than a time can go back."""


def moment(option: str, text: str | None) -> datetime | None:
    """Read a date or an RFC 3339 time; without an offset it is UTC.

    Raises:
        InvalidSetting: it is neither; names the option.
    """
    if text is None:
        return None
    try:
        return parse_date_or_time(text)
    except InvalidEvent as error:
        raise InvalidSetting(f"{option} takes a date or an RFC 3339 time: {error.problem}") from error


def not_negative(option: str, seconds: float | None) -> None:
    """Take a number of seconds from 0 up, or none.

    Raises:
        InvalidSetting: it is another number; names the option.
    """
    if seconds is not None and not 0 <= seconds <= _LONGEST:
        raise InvalidSetting(f"{option} takes a number of seconds from 0 up, such as 300")
