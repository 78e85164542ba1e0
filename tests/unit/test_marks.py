"""How far directories of files say that they have come."""

import pytest

from playhead.checks.marks import find_marks
from playhead.projections.staging import STAGING
from playhead.settings.servers import Servers
from playhead.settings.settings import load
from playhead.streams.partitions import Partition
from playhead.streams.positions import Position

WHOLE = '{"jobs/0":{"position":"7-0","sequence":7}}'


@pytest.fixture
def staging(tmp_path):
    staging = tmp_path / "outputs" / STAGING
    staging.mkdir(parents=True)
    return staging


def marks(data_dir):
    said = list[str]()
    found = find_marks(load(data_dir), Servers(None, None), said.append)
    return [(mark.partition, mark.position, mark.sequence) for mark in found if mark.projection == "json-files"], said


@pytest.mark.parametrize("content", [None, ""])
def test_a_tree_that_does_not_say_how_far_it_has_come_is_none_to_compare(tmp_path, staging, content):
    if content is not None:
        (staging / "checkpoints").write_text(content)

    assert ([], []) == marks(tmp_path)


def test_a_checkpoint_of_files_is_a_mark(tmp_path, staging):
    (staging / "checkpoints").write_text(WHOLE)

    assert ([(Partition("jobs", 0), Position(7, 0), 7)], []) == marks(tmp_path)


@pytest.mark.parametrize("content", [WHOLE[:-1], WHOLE.replace("7-0", "7"), WHOLE.replace("jobs/0", "jobs"), "[]"])
def test_checkpoints_that_cannot_be_read_are_said(tmp_path, staging, content):
    (staging / "checkpoints").write_text(content)

    found, said = marks(tmp_path)

    assert [] == found
    assert ["json-files: how far"] == [one[:19] for one in said]
    assert f"{tmp_path}/outputs has come cannot be read, so the log is not compared with it" in said[0]


def test_a_link_in_place_of_checkpoints_is_said(tmp_path, staging):
    staging.rename(tmp_path / "elsewhere")
    staging.symlink_to(tmp_path / "elsewhere")

    assert "link" in marks(tmp_path)[1][0]
