"""`playhead restore`."""

from playhead.backups.restoration import Restored, find_run
from playhead.backups.restoration import restore as restore_run
from playhead.backups.store import Store
from playhead.settings.settings import load
from playhead.terminal.exit_codes import CORRUPT, DONE
from playhead.terminal.options import DataDir, Json
from playhead.terminal.output import counted, print_json, print_table, say


def restore(target: str, /, *, run: int | None = None, data_dir: DataDir = None, json: Json = False) -> int:
    """Bring back what `playhead backup` copied, where the settings say; the event log there must be empty.

    Stop all consumers first. Files that are there already are never written over. If it is interrupted, run it again;
    until then, nobody writes the log. Exit code 4 if something in the backup is damaged.

    Args:
        target: The directory or URL that `playhead backup` was given.
        run: The run to restore, the last one if omitted.

    Example:
        playhead restore /mnt/backup/playhead
    """
    store = Store(target)
    done = restore_run(load(data_dir), store, find_run(store, run))
    if json:
        print_json(done)
    else:
        print_table(
            ("PARTITION", "EVENTS", "LAST"),
            [(one.partition, "-" if one.events is None else one.events, one.last or "-") for one in done.partitions],
        )
        print_table(
            ("PLACE", "WRITTEN", "SAME", "KEPT", "DAMAGED", "WHERE"),
            [
                (one.setting, one.written, one.same, len(one.kept), len(one.damaged), one.location)
                for one in done.places
            ],
        )
    _advise(done)
    return DONE if done.is_whole else CORRUPT


def _advise(done: Restored) -> None:
    for place in done.places:
        for name in place.kept:
            say(f"kept: {name} of {place.setting} differs from the backup")
        for name in place.damaged:
            say(f"damaged in the backup, and not restored: {name} of {place.setting}")
    for fault in done.faults:
        say(f"damaged in the log: {fault}")
    events = counted(sum(one.events or 0 for one in done.partitions), "event")
    say(f"run {done.run} is restored: {events}, as of {done.began}")
    say("not in any backup: later events, what only Redis had, such as entries that nobody can read, and spools")
    say(
        "next: `playhead up`, or `playhead db upgrade` and your consumers; then `playhead status` says which events the"
        " log lacks, and `playhead verify` compares every table and file with the log"
    )
