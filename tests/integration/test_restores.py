"""Restores of one log at once."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from playhead.backups.restoration import find_run, restore
from playhead.backups.store import Store
from playhead.eventlog import restoring
from playhead.eventlog.errors import LogInUse
from playhead.streams.installation import PlaceMark
from tests.support.backups import ID, Data

ROUNDS = 5


@pytest.fixture
def backup(tmp_path) -> Path:
    data = Data(tmp_path / "data")
    data.append(1, 2, seal=True)
    data.append(3, 4)
    PlaceMark("EVENT_LOG_DIR", data.log).write(ID)
    data.back_up(tmp_path / "backup")
    return tmp_path / "backup"


@pytest.fixture
def other(tmp_path) -> Data:
    return Data(tmp_path / "other")


class MeetingStore(Store):
    """A backup whose restores meet before they write, and go on writing when only one is left."""

    def __init__(self, location: str, log: Path, reads: int, meeting: threading.Barrier, ended: threading.Event):
        super().__init__(location)
        self._log, self._reads, self._meeting, self._ended = log, reads, meeting, ended
        self.marked: list[bool] = []

    def read(self, part):
        self._reads -= 1
        if self._reads == 0:
            self._meeting.wait(20)
        if self._reads < 0:
            assert self._ended.wait(20)
            self.marked.append(restoring.is_unfinished(self._log))
        return super().read(part)


@pytest.mark.parametrize("number", range(ROUNDS))
def test_the_log_stays_marked_while_one_of_two_restores_writes(backup, other, number):
    meeting, ended = threading.Barrier(2), threading.Event()
    run = find_run(Store(str(backup)), None)
    reads = sum(len(one.listing) for one in run.places)
    reads += sum(len(file.parts) for file in Store(str(backup)).files(run.places[0]))
    stores = [MeetingStore(str(backup), other.log, reads, meeting, ended) for _ in range(2)]

    def restored(store: Store) -> bool:
        try:
            return restore(other.settings, store, run).is_whole
        except LogInUse:
            ended.set()
            return False

    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(restored, stores))

    assert [False, True] == sorted(done)
    marked = [one for store in stores for one in store.marked]
    assert marked
    assert all(marked)
    assert not restoring.is_unfinished(other.log)
    assert [1, 2, 3, 4] == other.numbers()
