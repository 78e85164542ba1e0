"""Restores: two at once, and of backups that Playhead did not write."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from playhead.backups.errors import BackupDamaged
from playhead.backups.restoration import find_run, restore
from playhead.backups.runs import File, Place
from playhead.backups.store import Store
from playhead.commands.restore import restore as restore_command
from playhead.eventlog import restoring
from playhead.eventlog.errors import LogInUse
from playhead.eventlog.segments import partition_directory
from playhead.streams.errors import InvalidSetting
from playhead.streams.partitions import Partition
from tests.support.backups import Data

ROUNDS = 5
SEGMENT = f"{1:020d}-00000"
LONG = "n" * 256


@pytest.fixture
def backup(tmp_path) -> Path:
    data = Data(tmp_path / "data")
    data.fill()
    data.back_up(tmp_path / "backup")
    return tmp_path / "backup"


@pytest.fixture
def other(tmp_path) -> Data:
    return Data(tmp_path / "other")


def files_below(directory: Path) -> list[str]:
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*") if not path.name.startswith("."))


class MeetingStore(Store):
    """A backup whose restores meet before they write, and go on writing when only one is left."""

    def __init__(self, location: str, log: Path, reads: int, meeting: threading.Barrier, ended: threading.Event):
        super().__init__(location)
        self._log, self._reads, self._meeting, self._ended = log, reads, meeting, ended
        self.marked: list[bool] = []

    def read(self, part):
        self._reads -= 1
        if self._reads == 0:
            self._meeting.wait(60)
        if self._reads < 0:
            assert self._ended.wait(60)
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


def add_run(backup: Path, setting: str, *names: str, content: bytes = b"hello\n") -> None:
    """A run that has files with these names as one place."""
    store = Store(str(backup))
    run = find_run(store, None)
    listing = store.keep_listing([File(name, 0, [store.keep(content)]) for name in names])
    places = [one for one in run.places if one.setting != setting]
    place = Place(setting, len(names), len(names) * len(content), listing)
    store.write_run(msgspec.structs.replace(run, number=2, places=[*places, place]))


@pytest.mark.parametrize("partitions", [{"jobs": 4097}, {"jobs": 10**9}, {"jobs": 0}, {"jobs": -5}, {"../up": 1}])
def test_a_run_with_partitions_that_no_log_can_have_is_refused(backup, other, partitions):
    store = Store(str(backup))
    run = find_run(store, None)
    store.write_run(msgspec.structs.replace(run, number=2, partitions=partitions))

    with pytest.raises(BackupDamaged, match=r"run 2 has .* partitions"):
        other.restore(backup)

    assert not other.directory.exists()
    assert other.restore(backup, 1).is_whole


@pytest.mark.parametrize(
    "name",
    [
        "a/b/x.jsonl",
        f"JOBS/0/{SEGMENT}.jsonl",
        "jobs/0/x.jsonl",
        f"jobs/0/{SEGMENT}.jsonl/{SEGMENT}.jsonl",
        f"jobs/4096/{SEGMENT}.jsonl",
        f"jobs/{10**19}/{SEGMENT}.jsonl",
        f"jobs/00/{SEGMENT}.jsonl",
        f"jobs/{SEGMENT}.jsonl",
    ],
)
def test_a_name_that_no_file_of_a_log_has_is_refused(backup, other, name):
    add_run(backup, "EVENT_LOG_DIR", name)

    with pytest.raises(BackupDamaged, match="no file of a log"):
        other.restore(backup)

    assert not other.directory.exists()


@pytest.mark.parametrize("suffix", ["jsonl", "jsonl.zst", "manifest.json"])
def test_a_log_that_cannot_be_read_is_restored_and_named(backup, other, suffix, capfd):
    add_run(backup, "EVENT_LOG_DIR", f"jobs/0/{SEGMENT}.{suffix}")

    code = restore_command(str(backup), data_dir=other.directory)

    assert code == 4
    assert f"damaged in the log: {other.log}/jobs/0/{SEGMENT}" in capfd.readouterr().err
    assert not restoring.is_unfinished(other.log)


@pytest.mark.parametrize("names", [("a", "a/b"), ("a/b/c", "a/b"), (LONG,), (f"a/{LONG}/b",)])
def test_files_that_no_directory_can_have_are_refused_before_anything_is_written(backup, other, names):
    add_run(backup, "PLAYHEAD_BLOB_DIR", *names)

    with pytest.raises(InvalidSetting, match="no directory can have: set PLAYHEAD_BLOB_DIR to an s3:// URL"):
        other.restore(backup)

    assert not other.directory.exists()


def test_a_name_that_is_there_twice_is_refused(backup, other):
    add_run(backup, "PLAYHEAD_BLOB_DIR", "a", "a")

    with pytest.raises(BackupDamaged, match="the same name twice"):
        other.restore(backup)

    assert not other.directory.exists()


def test_a_log_with_more_partitions_than_a_stream_can_have_is_not_backed_up(tmp_path):
    data = Data(tmp_path / "data")
    data.append(1)
    partition_directory(data.log, Partition("jobs", 4096)).mkdir()

    with pytest.raises(InvalidSetting, match="jobs/4096 is not of Playhead"):
        data.back_up(tmp_path / "backup")

    assert [] == [name for name in files_below(tmp_path / "backup") if "/" in name]
