"""The staging directory, when it cannot be made."""

import os
from contextlib import suppress
from pathlib import Path

import pytest

from playhead.projections.jobs.json_files.projection import JsonFiles
from playhead.projections.staging import STAGING, Staging
from playhead.streams.errors import InvalidEvent, StoreUnavailable, Untrusted
from playhead.streams.partitions import Partition
from playhead.streams.storage.file_tree import FileTree
from playhead.streams.storage.objects import Objects, Staged
from playhead.streams.storage.trust import read_trusted
from tests.support.disks import small_disk

JOBS = Partition("jobs", 0)


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def fill(directory: Path) -> Path:
    """Leave no room on a disk."""
    path = directory / "fill"
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(4096)):
            pass
    return path


def test_a_full_disk_takes_no_descriptor_with_each_try_to_open_it(tmp_path):
    with small_disk(tmp_path / "disk", 1):
        filled = fill(tmp_path / "disk")
        sink = JsonFiles(tmp_path / "disk")
        before = descriptors()

        for epoch in range(10):
            with pytest.raises(OSError, match="No space"):
                sink.open(JOBS, epoch)

        assert descriptors() <= before + 1, "that of the root"
        filled.unlink()
        sink.open(JOBS, 11)
        assert [STAGING] == [path.name for path in (tmp_path / "disk").iterdir()]
        sink.close()
        assert before == descriptors()


def test_journals_are_inherited_once_the_tree_can_be_taken(tmp_path):
    former = Staging(tmp_path)
    former.take("jobs/0", 1)
    os.close(former.append_journal(b"one\n"))
    blocked = tmp_path / f"{STAGING}.blocked"
    blocked.write_text("no directory of a former owner")
    staging = Staging(tmp_path)

    with pytest.raises(OSError, match="link or file"):
        staging.take("jobs/0", 2)
    blocked.unlink()

    assert staging.take("jobs/0", 2)
    assert [b"one"] == staging.journals()
    assert [STAGING] == [path.name for path in tmp_path.iterdir()]
    former.close()
    staging.close()


def test_a_directory_where_a_file_belongs_takes_no_descriptor(tmp_path):
    (tmp_path / "a.json").mkdir()
    before = descriptors()

    with FileTree(tmp_path) as tree, pytest.raises(InvalidEvent, match="regular file"):
        tree.content("a.json")
    with pytest.raises(Untrusted, match="is no file"):
        read_trusted(tmp_path / "a.json")

    assert before == descriptors()


def test_staged_objects_of_which_one_is_gone_take_no_descriptor(tmp_path):
    objects = Objects(tmp_path)
    staged = objects.stage("a", b"a")
    before = descriptors()

    with pytest.raises(StoreUnavailable):
        objects.publish([staged, Staged("b", "gone")])

    assert before == descriptors()
