"""Every error of backups.

- PlayheadError
    - BackupDamaged           something in the backup is missing or was altered
    - BackupAhead             the backup has what is not there any more
        - OtherHistory        the log does not go on from the last run
    - LogNotEmpty             a restore would write over a log
    - OtherRestoreUnfinished  a restore of another run was interrupted
"""

from pathlib import Path

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


class OtherHistory(BackupAhead):
    """Another log was backed up here, such as that of a trial restore: choose another target. Nothing was added."""


class LogNotEmpty(InvalidSetting):
    """A restore never writes over a log: stop the consumers, move the log away, then run it again."""

    def __init__(self, problem: str) -> None:
        super().__init__(f"{problem}: {type(self).__doc__}")


class OtherRestoreUnfinished(InvalidSetting):
    """Run it again with `--run` until it ends. To restore this run instead, move away all that the other one wrote."""

    def __init__(self, root: Path, number: int) -> None:
        super().__init__(f"the restore of run {number} into {root} was interrupted. {type(self).__doc__}")
