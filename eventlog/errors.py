"""Every error of the event log.

- PlayheadError
    - LogCorrupt              a line, file or manifest is damaged where no crash can have torn it
        - EventsMissing       the log has a hole
        - RestoreUnfinished   a restore of the log was interrupted
        - NotesDamaged        a note of what was parked or dropped cannot be read, and Redis does not know it
    - LogInUse                another process writes this partition
    - LinkInLog               a symbolic link stands where the log would be written
    - BehindTail              an event stands before the end of the log
    - LogWriteFailed          the disk did not take what was written
    - InvalidEvent
        - PayloadInvalid      a payload is not of the type that a reader asked for
- ValueError
    - BadLine                 bytes that are no line of the log
"""

from collections.abc import Sequence
from pathlib import Path

from playhead.streams.cursors import Cursor
from playhead.streams.errors import InvalidEvent, PlayheadError
from playhead.streams.events import Recorded
from playhead.streams.partitions import Partition
from playhead.streams.positions import Position


class LogCorrupt(PlayheadError):
    """The log is damaged: run `playhead log verify`, and restore the file from a backup; nothing was changed."""

    def __init__(self, file: Path, line: int | None, position: Position | None, problem: str) -> None:
        place = f"{file}" if line is None else f"{file}, line {line}"
        after = "" if position is None else f" (position {position})"
        super().__init__(f"{place}{after}: {problem}. {type(self).__doc__}")
        self.file = file
        self.line = line
        self.position = position
        self.problem = problem


class EventsMissing(LogCorrupt):
    """Restore what is missing from a backup; if there is none, `playhead log accept-gaps` notes it as lost."""

    def __init__(self, file: Path, line: int | None, position: Position, problem: str, count: int) -> None:
        many = f"{count} events are" if count > 1 else "an event is"
        super().__init__(file, line, position, f"{problem}: {many} missing before it" if count else problem)
        self.count = count


class RestoreUnfinished(LogCorrupt):
    """Run `playhead restore` again, and wait for its end."""

    def __init__(self, mark: Path) -> None:
        super().__init__(mark, None, None, "this log is not restored to its end")


class NotesDamaged(LogCorrupt):
    """Restore the file from a backup; if there is none, remove the line, and what it says of its event is lost."""

    def __init__(self, file: Path, lines: Sequence[int]) -> None:
        many = f"{len(lines)} notes" if len(lines) > 1 else "a note"
        super().__init__(
            file, lines[0], None, f"{many} of what is parked or dropped cannot be read, and Redis lost them"
        )


class LogInUse(PlayheadError):
    """Another process writes this log, or this partition of it: stop it first, or let it continue."""

    def __init__(self, directory: Path) -> None:
        super().__init__(f"{directory}: {type(self).__doc__}")
        self.directory = directory


class LinkInLog(PlayheadError):
    """A symbolic link is in place of a file or directory of the log: remove it. Nothing is written through it."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path}: {type(self).__doc__}")
        self.path = path


class BehindTail(PlayheadError):
    """The log already has later events and only grows: append the event again with a new id, and drop this one."""

    def __init__(self, position: Position) -> None:
        super().__init__(f"{position}: {type(self).__doc__}")
        self.position = position


class LogWriteFailed(PlayheadError):
    """The disk failed to keep what was written: this process ends, and acknowledges nothing after it."""

    def __init__(self, path: Path, cause: str) -> None:
        super().__init__(f"{path}: {cause}. {type(self).__doc__}")
        self.path = path


class PayloadInvalid(InvalidEvent):
    """The payload is not of the type asked for: continue with `after=error.cursor`, or name the type as text."""

    def __init__(self, error: InvalidEvent, partition: Partition, recorded: Recorded, cursor: Cursor) -> None:
        event = recorded.event
        super().__init__(
            error.field,
            f"{error.problem} ({event.type} {event.id} at {recorded.position} of {partition}): continue behind it with"
            " `after=error.cursor`, or name the type as text to get its payload as bytes",
        )
        self.partition, self.recorded, self.cursor = partition, recorded, cursor


class BadLine(ValueError):
    """The bytes are not a line of the event log."""
