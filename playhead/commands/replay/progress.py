"""Progress and messages of `playhead replay`."""

from typing import Self

from playhead.eventlog.replay.backlog import Watch
from playhead.eventlog.replay.replay import Report
from playhead.streams.storage.file_tree import Skipped, shown
from playhead.terminal.progress import Progress

FAILED_JOB = "failed job"
_SAID = {FAILED_JOB, "unknown status"}
"""Reasons that are said of each file, whether asked for or not."""


class Terminal(Watch):
    """Progress and messages, on stderr."""

    def __init__(self, *, verbose: bool) -> None:
        self._verbose = verbose
        self._progress = Progress("reading")
        self._said = ""

    def __enter__(self) -> Self:
        self._progress.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.__exit__(*error)

    def begin(self, what: str, total: int | None) -> None:
        self._progress.begin(what, total)

    def advanced(self, count: int) -> None:
        self._progress.advanced(count)
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
        self._progress.say(text)
