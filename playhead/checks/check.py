"""The result of one check."""

from typing import Literal

import msgspec

Result = Literal["ok", "warn", "fail"]


class Check(msgspec.Struct, frozen=True):
    """The result of a check, and what to do if it is not ok."""

    name: str
    result: Result
    found: str
    advice: str | None = None


def judge(name: str, found: str, *, good: bool, advice: str, otherwise: Result = "fail") -> Check:
    """Make a check that is ok if `good`, otherwise warn or fail."""
    return Check(name, "ok", found) if good else Check(name, otherwise, found, advice)
