"""Progress and messages of `playhead replay`."""

import sys
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from playhead.eventlog.replay.backlog import Watch
from playhead.eventlog.replay.replay import Report
from playhead.streams.printable import printable
from playhead.streams.storage.file_tree import Skipped, shown

FAILED_JOB = "failed job"
_SAID = {FAILED_JOB, "unknown status"}
"""Reasons that are said of each file, whether asked for or not."""


class Terminal(Watch):
    """Progress and messages, on stderr."""

    def __init__(self, *, verbose: bool) -> None:
        self._verbose = verbose
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
        self._bar = Progress(
            *columns, console=Console(file=sys.stderr), disable=not sys.stderr.isatty(), transient=True
        )
        self._task = self._bar.add_task("reading", total=None)
        self._said = ""

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def begin(self, what: str, total: int | None) -> None:
        self._bar.reset(self._task, description=what, total=total)

    def advanced(self, count: int) -> None:
        self._bar.advance(self._task, count)
        self._said = ""

    def waiting(self, text: str) -> None:
        if text != self._said:
            self.say(text)
            self._said = text

    def left_out(self, name: str, reason: str, detail: str = "") -> None:
        if self._verbose or reason in _SAID:
            self.say(f"{shown(name)}: skipped, {reason}{detail and ': '}{detail}")

    def remark(self, name: str, text: str) -> None:
        if self._verbose:
            self.say(f"{shown(name)}: {text}")

    def skipped(self, one: Skipped, report: Report) -> None:
        """Count a file that is no event, or a broken one, and name it."""
        if one.broken:
            report.failed += 1
            self.say(f"{shown(one.name)}: {one.reason}")
        else:
            report.skip(one.reason, spare=one.spare)
            self.left_out(one.name, one.reason, one.detail)

    def say(self, text: str) -> None:
        self._bar.console.print(f"playhead: {printable(text)}", markup=False, highlight=False, soft_wrap=True)
