"""Verification of a backup: everything that its runs refer to, read back, and whether their logs have a hole."""

from collections.abc import Iterator

import msgspec

from playhead.backups.continuity import Continuity
from playhead.backups.errors import BackupDamaged
from playhead.backups.runs import Part, Run
from playhead.backups.store import Store
from playhead.settings.core import EVENT_LOG_DIR


class Damage(msgspec.Struct, frozen=True):
    """Something of a run that cannot be read back, or lacks what comes before; `file` is None for the run itself."""

    run: int | None
    setting: str | None
    file: str | None
    problem: str


class Checked(msgspec.Struct, frozen=True):
    """How much was read back, and what is damaged."""

    runs: int
    files: int
    damaged: list[Damage]


def verify(store: Store) -> Checked:
    """Read back every run of a backup, and each part once.

    Raises:
        InvalidSetting: there is no run.
        StoreUnavailable: the backup cannot be read now.
    """
    check = _Check(store)
    names = store.require_runs()
    for name in names:
        try:
            run = store.read_run(name)
        except BackupDamaged as error:
            check.damaged.append(Damage(None, None, None, error.problem))
            continue
        check.damaged += check.run(run)
    return Checked(len(names), check.files, check.damaged)


class _Check:
    def __init__(self, store: Store) -> None:
        self.files = 0
        self.damaged: list[Damage] = []
        self._store = store
        self._continuity = Continuity(store)
        self._problems: dict[Part, str | None] = {}

    def run(self, run: Run) -> Iterator[Damage]:
        for place in run.places:
            try:
                files = self._store.files(place)
            except BackupDamaged as error:
                yield Damage(run.number, place.setting, None, error.problem)
                continue
            for file in files:
                self.files += 1
                for part in file.parts:
                    if (problem := self._problem(part)) is not None:
                        yield Damage(run.number, place.setting, file.name, problem)
            if place.setting == EVENT_LOG_DIR.name:
                for hole in self._continuity.holes(files):
                    yield Damage(run.number, place.setting, hole.file, hole.problem)

    def _problem(self, part: Part) -> str | None:
        if part not in self._problems:
            try:
                self._store.read(part)
            except BackupDamaged as error:
                self._problems[part] = error.problem
            else:
                self._problems[part] = None
        return self._problems[part]
