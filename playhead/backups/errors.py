"""Every error of backups.

- PlayheadError
    - BackupDamaged           something in the backup is missing or was altered
    - BackupAhead             the backup has what is not there any more
    - LogNotEmpty             a restore would write over a log
"""

from playhead.streams.errors import InvalidSetting, PlayheadError


class BackupDamaged(PlayheadError):
    """See all that is damaged with `playhead backup verify`; an earlier run may be whole, `playhead restore --run`."""

    def __init__(self, problem: str) -> None:
        super().__init__(f"{problem}: {type(self).__doc__}")
        self.problem = problem


class BackupAhead(PlayheadError):
    """Restore or mount what is missing. If it is meant to be missing, back up to another target. Nothing was added."""

    def __init__(self, problem: str) -> None:
        super().__init__(f"{problem}. {type(self).__doc__}")


class LogNotEmpty(InvalidSetting):
    """A restore never writes over events: stop the consumers, move the log away, then run it again."""

    def __init__(self, problem: str) -> None:
        super().__init__(f"{problem}: {type(self).__doc__}")
