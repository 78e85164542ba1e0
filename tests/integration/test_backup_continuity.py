"""Whether the log in a backup is without a hole, while it is copied and when it is read back."""

from collections.abc import Callable

import pytest

from playhead.backups.backup import back_up
from playhead.backups.store import Store
from playhead.backups.verification import Damage, verify
from playhead.eventlog.gaps import Gap, note_gap
from playhead.eventlog.segments import list_segments, partition_directory
from playhead.streams.partitions import Partition
from playhead.streams.positions import Position
from tests.support.backups import JOBS, Data

SEALED = b"\x28\xb5\x2f\xfd"
ACTIVE = b'{"position":"'


class BusyStore(Store):
    """A backup during which something else happens, once it has kept a part that begins so."""

    def __init__(self, location: str, begins: bytes, meanwhile: Callable[[], None]) -> None:
        super().__init__(location)
        self._begins, self._meanwhile = begins, meanwhile

    def keep(self, content: bytes):
        part = super().keep(content)
        if content.startswith(self._begins):
            self._begins = b"\0 nothing begins so"
            self._meanwhile()
        return part


@pytest.fixture
def data(tmp_path) -> Data:
    data = Data(tmp_path / "data")
    data.fill()
    return data


@pytest.fixture
def other(tmp_path) -> Data:
    return Data(tmp_path / "other")


def lose(data: Data, *firsts: int, partition: Partition = JOBS) -> None:
    """Remove the segments that begin with these events."""
    for segment in list_segments(partition_directory(data.log, partition)):
        if segment.first.milliseconds in firsts:
            for suffix in segment.suffixes:
                (segment.directory / (segment.stem + suffix)).unlink()


@pytest.mark.parametrize(("begins", "copied"), [(ACTIVE, [1, 2, 3, 4]), (SEALED, [1, 2, 3, 4, 5, 6, 7])])
def test_a_segment_that_begins_while_the_log_is_copied_waits_for_the_next_run(data, other, tmp_path, begins, copied):
    def roll_over() -> None:
        data.append(5, 6)
        data.append(7, seal=True)
        data.append(8)

    back_up(data.settings, BusyStore(str(tmp_path / "backup"), begins, roll_over))

    assert [] == verify(Store(str(tmp_path / "backup"))).damaged
    assert other.restore(tmp_path / "backup").is_whole
    assert copied == other.numbers()
    data.back_up(tmp_path / "backup")
    again = Data(tmp_path / "again")
    assert again.restore(tmp_path / "backup").is_whole
    assert [1, 2, 3, 4, 5, 6, 7, 8] == again.numbers()


@pytest.mark.parametrize(
    ("lost", "hole"), [((3,), (6, 2, "jsonl")), ((1,), (3, 0, "manifest.json")), ((1, 3), (6, 0, "jsonl"))]
)
def test_a_log_that_lacks_a_segment_is_named_when_its_backup_is_verified(data, tmp_path, lost, hole):
    data.append(5, seal=True)
    data.append(6, 7)
    data.append(1, partition=Partition("jobs", 1))
    lose(data, *lost)
    data.back_up(tmp_path / "backup")
    data.append(8)
    data.back_up(tmp_path / "backup")

    found = verify(Store(str(tmp_path / "backup")))

    first, before, suffix = hole
    name = f"jobs/0/{first:020d}-00000.{suffix}"
    problem = f"events are missing: sequence {first} follows {before}"
    assert [Damage(run, "EVENT_LOG_DIR", name, problem) for run in (1, 2)] == found.damaged


def test_events_that_are_noted_as_missing_are_no_hole_of_the_backup(data, tmp_path):
    data.append(5, seal=True)
    data.append(6)
    lose(data, 3)
    note_gap(partition_directory(data.log, JOBS), Gap(Position(2, 0), Position(6, 0), 3))

    data.back_up(tmp_path / "backup")

    assert [] == verify(Store(str(tmp_path / "backup"))).damaged
