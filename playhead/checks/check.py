"""One thing that was looked at."""

from typing import Literal

import msgspec

Result = Literal["ok", "warn", "fail"]


class Check(msgspec.Struct, frozen=True):
    """What was found, and what to do where that is not as it should be."""

    name: str
    result: Result
    found: str
    advice: str | None = None


def judge(name: str, found: str, *, good: bool, advice: str, otherwise: Result = "fail") -> Check:
    """Make a check that is ok where it is good."""
    return Check(name, "ok", found) if good else Check(name, otherwise, found, advice)
