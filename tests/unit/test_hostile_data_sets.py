"""A directory that is published to may be a copy of somebody else's: whatever they planted, nothing outside changes."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from playhead.organizations.publication.checksums import LIMIT, NAME, read_sums, render_sums
from playhead.organizations.publication.days import copy_day, published, remove_day
from playhead.organizations.publication.errors import Occupied, SumsTooLarge
from playhead.organizations.publication.release import STAGING, Release
from playhead.streams.errors import UnsafePath

DAY = "2025-08-09"
FOLDERS = [STAGING, "daily", f"daily/{DAY}", f"daily/{DAY}/scrapers", f"daily/{DAY}/scrapers/s"]
FILES = ["README.md", f"daily/{DAY}/{NAME}", f"daily/{DAY}/summary.json", f"daily/{DAY}/scrapers/s/a.json"]
DIGEST = "0" * 64


class Place:
    """A directory that is published to, with outputs and the data directory of the publisher beside it."""

    def __init__(self, root: Path) -> None:
        self.directory, self.outputs, self.data_dir = root / "set", root / "outputs", root / "data"
        self.outside = root / "outside"
        self.outside.mkdir()
        (self.outside / "victim").write_text("precious")

    def record(self, **jobs: str) -> None:
        folder = self.outputs / "daily" / DAY
        (folder / "scrapers/s").mkdir(parents=True, exist_ok=True)
        for job, content in jobs.items():
            (folder / f"scrapers/s/{job}.json").write_text(content)
        (folder / "summary.json").write_text(json.dumps({"total_jobs": len(jobs), "jobs": sorted(jobs)}))

    def publish(self, readme: bytes = b"1", *, owned: bool = True, gone: bool = False) -> Release:
        with Release(self.directory, self.data_dir) as release:
            if gone:
                remove_day(DAY, release)
            else:
                copy_day(self.outputs, DAY, release)
            release.offer("README.md", readme, owned=owned)
            release.publish()
            release.done()
        return release


@pytest.fixture
def place(tmp_path) -> Place:
    found = Place(tmp_path)
    found.record(a="a", b="b")
    found.publish(owned=False)
    return found


def everything(directory: Path) -> dict[Path, bytes | str]:
    """Every file, and where each link leads."""
    return {
        path: os.readlink(path) if path.is_symlink() else path.read_bytes()
        for path in directory.rglob("*")
        if path.is_symlink() or path.is_file()
    }


@pytest.mark.parametrize("gone", [False, True])
@pytest.mark.parametrize("planted", FOLDERS)
def test_nothing_is_written_or_removed_below_a_planted_link(place, planted, gone):
    target = place.outside / "target"
    if (place.directory / planted).exists():
        (place.directory / planted).rename(target)
    else:
        target.mkdir()
        (target / "victim").write_text("precious")
    (place.directory / planted).symlink_to(target)
    before = everything(place.outside)
    place.record(a="A", c="c")
    if planted == STAGING:
        place.publish(b"2", gone=gone)
    else:
        with pytest.raises(UnsafePath, match="remove it"):
            place.publish(b"2", gone=gone)

    assert before == everything(place.outside)
    assert (planted == STAGING) == ((place.directory / "README.md").read_text() == "2")
    assert not os.path.lexists(place.directory / STAGING)


@pytest.mark.parametrize("plant", [lambda path: path.symlink_to("../outside/victim"), os.mkfifo])
@pytest.mark.parametrize("planted", FILES)
def test_what_stands_in_the_place_of_a_file_is_neither_read_nor_followed_nor_waited_for(place, planted, plant):
    (place.directory / planted).unlink()
    plant(place.directory / planted)
    before = everything(place.outside)
    place.record(a="A", b="b")
    if planted.endswith(NAME):  # so nobody knows what was published of the day
        with pytest.raises(Occupied, match=NAME):
            place.publish(b"2")
    else:
        place.publish(b"2")
        assert (place.directory / planted).is_file()
        assert not (place.directory / planted).is_symlink()
        assert "A" == (place.directory / FILES[-1]).read_text()

    assert before == everything(place.outside)


@pytest.mark.parametrize("planted", FILES)
def test_a_directory_in_the_place_of_a_file_is_named_before_anything_changes(place, planted):
    before = everything(place.directory)
    (place.directory / planted).unlink()
    (place.directory / planted).mkdir()
    (place.directory / planted / "mine").write_text("mine")
    place.record(a="A", b="b", c="c")
    with pytest.raises((UnsafePath, Occupied), match=planted.rpartition("/")[2]):
        place.publish(b"2")
    after = everything(place.directory)
    (place.directory / planted / "mine").unlink()
    (place.directory / planted).rmdir()

    assert {path for path, content in after.items() if before.get(path) != content} == {
        place.directory / planted / "mine"
    }
    if not planted.endswith(NAME):
        assert 0 < place.publish(b"2").written


@pytest.mark.parametrize(
    "name",
    ["../outside/victim", "outside/victim", "link/victim", ".git/hooks/pre-commit", "daily/../../outside/victim"],
)
def test_a_plan_in_the_directory_itself_is_not_followed(place, name):
    planted = name.replace("outside/victim", str(place.outside / "victim")) if name.startswith("outside") else name
    (place.directory / "link").symlink_to(place.outside)
    (place.directory / ".git/hooks").mkdir(parents=True)
    staging = place.directory / STAGING
    (staging / "new/link").mkdir(parents=True)
    (staging / "new/.git/hooks").mkdir(parents=True)
    for staged in ("new/link/victim", "new/.git/hooks/pre-commit", "0"):
        (staging / staged).write_text("#!/bin/sh\nevil\n")
    for plan in ({"written": [planted], "removed": [planted]}, {"written": {planted: "0"}, "removed": [planted]}):
        (staging / "plan.json").write_text(json.dumps(plan))
        (staging / "changed.json").write_text(json.dumps([planted]))
        before = everything(place.outside)
        released = place.publish()

        assert before == everything(place.outside)
        assert set() == released.changed
        assert not staging.exists()
        assert [] == list((place.directory / ".git/hooks").iterdir())
        staging.mkdir()


@pytest.mark.parametrize("name", ["../outside/victim", "/etc/passwd", ".git/config", f"{STAGING}/0", "a//b", ""])
def test_no_file_of_a_data_set_is_called_so(place, name):
    before = everything(place.outside)
    with pytest.raises(UnsafePath), Release(place.directory, place.data_dir) as release:
        release.offer(name, b"evil", owned=True)
    with pytest.raises(UnsafePath), Release(place.directory, place.data_dir) as release:
        release.remove(name)

    assert before == everything(place.outside)


def test_forged_checksums_remove_files_of_the_data_set_alone(place):
    mine = ["notes.txt", f"daily/{DAY}/notes.txt", f"daily/{DAY}/scrapers/s/notes.md", ".git/config", ".env"]
    for name in mine:
        (place.directory / name).parent.mkdir(exist_ok=True)
        (place.directory / name).write_text("mine")
    names = [
        "../../../outside/victim",
        "../../notes.txt",
        "notes.txt",
        "scrapers/s/notes.md",
        "/etc/hostname",
        "../../.env",
    ]
    forged = render_sums(dict.fromkeys([*names, "scrapers/s/a.json"], DIGEST))
    (place.directory / "daily" / DAY / NAME).write_bytes(forged)
    before = everything(place.outside)
    place.publish(gone=True)

    assert before == everything(place.outside)
    assert ["mine"] * len(mine) == [(place.directory / name).read_text() for name in mine]
    assert not (place.directory / FILES[-1]).exists()


def test_checksums_that_nobody_published_do_not_fill_the_memory(place):
    with (place.directory / "daily" / DAY / NAME).open("wb") as file:
        file.truncate(100 * LIMIT)
    with pytest.raises(SumsTooLarge, match="move it away"):
        published(place.directory, DAY)


def test_directories_planted_deep_are_removed_or_named(place):
    descriptor = os.open(place.directory, os.O_RDONLY)
    for name in [STAGING] + ["d"] * 2_000:
        os.mkdir(name, dir_fd=descriptor)
        below = os.open(name, os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = below
    os.close(descriptor)
    if sys.version_info < (3, 13):  # whose `rmtree` calls itself for each level
        with pytest.raises(UnsafePath, match="remove it"):
            place.publish(b"2")
        subprocess.run(["rm", "-r", place.directory / STAGING], check=True)

    assert 1 == place.publish(b"2").written


@pytest.mark.parametrize(
    "name", ["a\nb", "a\\nb", "\\", "a\r", "a\u2028b", "a b", "é", os.fsdecode(b"\xff"), "*", "a|b"]
)
def test_checksums_of_any_name_are_read_back_and_by_sha256sum(tmp_path, name):
    (tmp_path / name).write_bytes(b"content")
    sums = {name: hashlib.sha256(b"content").hexdigest()}
    (tmp_path / NAME).write_bytes(render_sums(sums))
    subprocess.run(["sha256sum", "--check", "--strict", NAME], cwd=tmp_path, check=True, capture_output=True)

    assert sums == read_sums(tmp_path)
