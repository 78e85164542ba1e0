"""Named points at which a test ends or freezes the process; unless the environment names one, reaching it does nothing.

`PLAYHEAD_FAILPOINT=before-commit:3` ends the process, as kill -9 does, the third time that it is about to commit;
`before-commit:3:STOP` sends that signal instead. Call the functions by their module, so that a test can load it again.
"""

import os
import signal
from collections import Counter
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Protocol, TypeVar

from playhead.streams.names import TestVariable

_Content = TypeVar("_Content", memoryview, Sequence[bytes])


class Point(StrEnum):
    """Every point there is, in the order in which an event crosses them. A sink or worker crosses those of its kind."""

    AFTER_READ = "after-read"
    BEFORE_OUTCOME = "before-outcome"
    MID_FILE = "mid-file"
    BEFORE_SYNC = "before-sync"
    AFTER_SYNC = "after-sync"
    BEFORE_RENAME = "before-rename"
    AFTER_RENAME = "after-rename"
    MID_TRANSACTION = "mid-transaction"
    BEFORE_COMMIT = "before-commit"
    AFTER_COMMIT = "after-commit"
    BEFORE_ACK = "before-ack"
    AFTER_ACK = "after-ack"
    BEFORE_MARK = "before-mark"


class _Portion(Protocol):
    def __call__(self, content: _Content, /) -> _Content: ...


def pass_by(point: Point) -> None:  # noqa: ARG001  # this is what a point costs
    return


def whole(content: _Content) -> _Content:
    return content


def _half(content: _Content) -> _Content:
    return content[: (len(content) + 1) // 2]


def _armed(setting: str) -> Callable[[Point], None]:
    name, number, *how = setting.split(":")
    wanted = Point(name)
    sign = signal.Signals[f"SIG{''.join(how) or 'KILL'}"]
    reached: Counter[Point] = Counter()

    def count(point: Point) -> None:
        reached[point] += 1
        if point == wanted and reached[point] == int(number):
            os.kill(os.getpid(), sign)

    return count


_setting = os.environ.get(TestVariable.FAILPOINT, "")

reach: Callable[[Point], None] = _armed(_setting) if _setting else pass_by
"""Say that the process is at a point."""

portion: _Portion = _half if _setting.startswith(Point.MID_FILE) else whole
"""What of some content to write at once: all, or half of it if a test wants to be in the middle of a file."""
