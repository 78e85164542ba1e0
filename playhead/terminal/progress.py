"""Progress of a command that takes a while: one line on stderr, rewritten, if that is a terminal."""

import sys
from threading import Timer
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, Task, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.text import Text

from playhead.streams.printable import printable

_SILENT_SECONDS = 2.0


class Progress:
    """What is done, how much of it, how fast and for how long; silent for the first two seconds."""

    def __init__(self, what: str) -> None:
        columns = TextColumn("{task.description}"), BarColumn(), _Count(), TimeElapsedColumn(), TimeRemainingColumn()
        self._bar = Bar(*columns, console=Console(file=sys.stderr), transient=True, redirect_stdout=False)
        self._task = self._bar.add_task(what, total=None)
        self._start = Timer(_SILENT_SECONDS, self._bar.start)
        self._start.daemon = True

    def __enter__(self) -> Self:
        if self._bar.console.is_interactive:
            self._start.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._start.cancel()
        if self._start.ident is not None:
            self._start.join()
        self._bar.live.stop()

    def begin(self, what: str, total: int | None = None) -> None:
        """Begin another part, of so many things if that is known."""
        self._bar.reset(self._task, description=what, total=total)

    def advanced(self, count: int = 1) -> None:
        """Count so many more things as done; costs some microseconds."""
        self._bar.advance(self._task, count)

    def say(self, text: str) -> None:
        """Print a message above the line."""
        self._bar.console.print(f"playhead: {printable(text)}", markup=False, highlight=False, soft_wrap=True)


class _Count(ProgressColumn):
    def render(self, task: Task) -> Text:
        if not task.completed:
            return Text()
        of = "" if task.total is None else f" of {task.total:,.0f}"
        speed = f", {task.speed:,.0f} a second" if task.speed else ""
        return Text(f"{task.completed:,.0f}{of}{speed}")
