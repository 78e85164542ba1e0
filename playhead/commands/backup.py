"""`playhead backup`."""

from cyclopts import App

from playhead.backups.backup import back_up
from playhead.backups.store import Store
from playhead.backups.verification import Damage, verify
from playhead.settings.settings import load
from playhead.terminal.exit_codes import CORRUPT, DONE, FAILED
from playhead.terminal.options import DataDir, Json
from playhead.terminal.output import counted, print_json, print_lines, print_table, say

backup_app = App(name="backup")


@backup_app.default
def backup(target: str, /, *, data_dir: DataDir = None, json: Json = False) -> int:
    """Copy the event log, and all that cannot be derived from it, into a directory or bucket, while consumers run.

    Each time adds what is new, reads it back, and becomes a run that `playhead restore` can bring back. Nothing in
    the target is changed or removed. Exit code 1 if something cannot be copied, such as a link; it is named on stderr,
    and the run has everything else. Exit code 4 if the log, or a whole place, lacks what the last run has; then there
    is no new run.

    Args:
        target: A directory on another disk or machine, or s3://bucket/prefix.

    Example:
        playhead backup /mnt/backup/playhead
    """
    done = back_up(load(data_dir), Store(target))
    for one in done.omitted:
        say(f"not copied: {one}")
    for one in done.damaged:
        say(f"copied as it is: {one}")
    if json:
        print_json(done)
    else:
        print_table(
            ("PLACE", "FILES", "BYTES", "COPIED", "WHERE"),
            [(one.setting, one.files, one.bytes, one.copied, one.location) for one in done.places],
        )
        print_lines(f"run {done.run}: {counted(done.added_bytes, 'byte')} added, {done.ended}")
    if done.damaged:
        return CORRUPT
    return FAILED if done.omitted else DONE


@backup_app.command(name="verify")
def backup_verify(target: str, /, *, json: Json = False) -> int:
    """Read back every run of a backup, and check each checksum, and that no log in it has a hole.

    Exit code 4 if something is damaged, or if events are missing that are not noted as missing.

    A damaged part can be removed: the next `playhead backup` copies it again from a file that is still there.

    Args:
        target: The directory or URL that `playhead backup` was given.

    Example:
        playhead backup verify /mnt/backup/playhead
    """
    found = verify(Store(target))
    if json:
        print_json(found)
    else:
        for one in found.damaged:
            print_lines(_said(one))
        print_lines(
            f"{counted(found.runs, 'run')} with {counted(found.files, 'file')}, {counted(len(found.damaged), 'fault')}"
        )
    return CORRUPT if found.damaged else DONE


def _said(damage: Damage) -> str:
    where = [f"run {damage.run}" if damage.run is not None else None, damage.setting, damage.file]
    return ": ".join([one for one in where if one is not None] + [damage.problem])
