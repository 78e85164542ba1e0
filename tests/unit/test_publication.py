"""Releases of files to a directory: all or nothing, whatever happens, and nothing of anybody else's."""

import hashlib
import os

import pytest

from playhead.organizations.publication.checksums import NAME, read_sums, render_sums
from playhead.organizations.publication.days import copy_day, days, remove_day
from playhead.organizations.publication.errors import Occupied, PublicationRunning
from playhead.organizations.publication.journal import PUBLICATIONS
from playhead.organizations.publication.release import STAGING, Release
from playhead.streams.errors import UnsafePath

OLD = {"README.md": "1", "daily/2025-08-08/a.json": "a", "daily/2025-08-09/b.json": "b"}
NEW = {"README.md": "2", "daily/2025-08-09/b.json": "b", "daily/2025-08-10/scrapers/s/c.json": "c"}


class Killed(BaseException):
    """Stands for kill -9: nothing is caught, nothing is tidied up."""


def files(directory):
    return {
        path.relative_to(directory).as_posix(): path.read_text()
        for path in directory.rglob("*")
        if path.is_file() and STAGING not in path.parts
    }


def data_dir(directory):
    return directory.with_name(f"{directory.name}-data")


def begin(directory, **options):
    return Release(directory, data_dir(directory), **options)


def offer(release, wanted, owned=frozenset()):
    for name, content in wanted.items():
        release.offer(name, content.encode(), owned=name in owned)
    for name in owned - wanted.keys():
        release.remove(name)


def published(directory, wanted, owned=frozenset(), **options):
    with begin(directory, **options) as release:
        offer(release, wanted, owned)
        release.publish()
        release.done()
    return release


def cut_off(directory, monkeypatch, step):
    """Publish NEW over OLD in a process that ends at a step: a rename, or the removal of a file. Whether it did."""
    steps = iter(range(1_000))

    def count(method):
        def counted(*arguments, **options):
            if next(steps) == step:
                raise Killed
            return method(*arguments, **options)

        return counted

    release = begin(directory)
    release.__enter__()
    with monkeypatch.context() as patched:
        for name in ("rename", "replace", "unlink"):
            patched.setattr(os, name, count(getattr(os, name)))
        try:
            offer(release, NEW, OLD.keys())
            release.publish()
            release.done()
        except Killed:
            os.close(release._root)  # noqa: SLF001  # as the end of the process does
            return True
    release.__exit__(None, None, None)
    return False


def test_killed_at_any_step_the_directory_is_as_before_or_the_next_run_makes_it_as_it_was_to_be(tmp_path, monkeypatch):
    found = []
    mixed = 0
    for step in range(1_000):
        directory = tmp_path / str(step)
        published(directory, OLD)
        if not cut_off(directory, monkeypatch, step):
            break
        standing = files(directory)
        assert all(content in {OLD.get(name), NEW.get(name)} for name, content in standing.items())
        mixed += standing not in (OLD, NEW)
        with begin(directory) as release:
            assert files(directory) in (OLD, NEW)
        found.append(files(directory) == NEW)
        assert not found[-1] or release.changed == {"README.md", "daily/2025-08-08/a.json", *list(NEW)[2:]}

    assert NEW == files(directory)
    assert not (directory / STAGING).exists()
    assert not (data_dir(directory) / PUBLICATIONS).exists()
    assert not (directory / "daily/2025-08-08").exists()
    assert [False, True] == sorted(set(found)), "some were too early, some were completed"
    assert found == sorted(found)
    assert 0 < mixed, "the harness sees the state in between, so without the next run's first step it would stay"


def test_what_is_there_already_is_not_touched(tmp_path):
    published(tmp_path / "set", NEW)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "set").rglob("*") if path.is_file()}
    again = published(tmp_path / "set", NEW, NEW.keys())

    assert (0, 0) == (again.written, again.removed)
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "set").rglob("*") if path.is_file()}


def test_files_of_others_are_not_replaced_unless_that_is_wanted(tmp_path):
    (tmp_path / "README.md").write_text("mine")
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(Occupied, match=r"README\.md"):
        published(tmp_path, NEW)
    refused = files(tmp_path)
    published(tmp_path, NEW, overwrite=True)

    assert {"README.md": "mine", "notes.txt": "mine"} == refused
    assert NEW | {"notes.txt": "mine"} == files(tmp_path)


def test_a_file_that_says_the_same_is_taken_over(tmp_path):
    (tmp_path / "README.md").write_text(NEW["README.md"])

    assert 2 == published(tmp_path, NEW).written


def test_nothing_is_written_through_a_link(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "set").mkdir()
    (tmp_path / "set/daily").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UnsafePath, match="link"):
        published(tmp_path / "set", NEW)

    assert [] == list((tmp_path / "elsewhere").iterdir())
    assert {} == files(tmp_path / "set")


def test_a_failed_publication_leaves_no_directory_behind(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set/README.md").write_text("mine")
    for directory in ("set", "other"):
        with pytest.raises(ValueError, match="text"), begin(tmp_path / directory) as release:
            release.offer("README.md", "text", owned=False)

    assert ["README.md"] == [path.name for path in (tmp_path / "set").iterdir()]
    assert not (tmp_path / "other").exists()


def test_one_publication_runs_at_a_time(tmp_path):
    with begin(tmp_path), pytest.raises(PublicationRunning, match="wait"), begin(tmp_path):
        pass
    with begin(tmp_path):
        pass


def make_day(root, day="2025-08-09", jobs=("a", "b"), **contents):
    folder = root / "daily" / day
    (folder / "scrapers/s").mkdir(parents=True, exist_ok=True)
    for job in jobs:
        (folder / f"scrapers/s/{job}.json").write_text(contents.get(job, job))
    (folder / "summary.json").write_text(f'{{"total_jobs": {len(jobs)}}}')
    return root


def copied(root, directory, day="2025-08-09"):
    with begin(directory) as release:
        jobs, sums = copy_day(root, day, release)
        release.publish()
        release.done()
    return jobs, sums, release


def test_a_day_is_copied_once_and_then_what_changed(tmp_path):
    root = make_day(tmp_path / "outputs")
    jobs, sums, first = copied(root, tmp_path / "set")
    again = copied(root, tmp_path / "set")[2]
    make_day(root, b="B")
    (root / "daily/2025-08-09/scrapers/s/a.json").unlink()
    changed = copied(root, tmp_path / "set")[2]

    digest = hashlib.sha256(b"a").hexdigest()
    assert 2 == jobs
    assert f"{digest}  scrapers/s/a.json" in sums.decode().splitlines()
    assert [(4, 0), (0, 0), (2, 1)] == [(one.written, one.removed) for one in (first, again, changed)]
    assert "B" == (tmp_path / "set/daily/2025-08-09/scrapers/s/b.json").read_text()


def test_a_copy_that_lost_its_times_is_read_and_left_alone(tmp_path):
    root = make_day(tmp_path / "outputs")
    copied(root, tmp_path / "set")
    for path in (tmp_path / "set").rglob("*.json"):
        os.utime(path, (0, 0))
    again = copied(root, tmp_path / "set")[2]
    (tmp_path / "set/daily/2025-08-09/scrapers/s/a.json").write_text("altered")
    mended = copied(root, tmp_path / "set")[2]

    assert [(0, 0), (1, 0)] == [(one.written, one.removed) for one in (again, mended)]


def test_only_files_of_the_layout_are_copied(tmp_path):
    root = make_day(tmp_path / "outputs")
    (root / "secret").write_text("secret")
    day = root / "daily/2025-08-09"
    (day / "scrapers/s/link.json").symlink_to(root / "secret")
    (day / "scrapers/linked").symlink_to(day / "scrapers/s")
    (day / "other.json").write_text("{}")
    (root / "daily/notes").mkdir()
    copied(root, tmp_path / "set")

    assert ["2025-08-09"] == days(root)
    assert {"scrapers/s/a.json", "scrapers/s/b.json", "summary.json"} == read_sums(
        tmp_path / "set/daily/2025-08-09"
    ).keys()
    assert [] == days(tmp_path / "nowhere")


def test_a_day_that_is_gone_takes_its_directory_along_but_no_file_of_others(tmp_path):
    for day in ("2025-08-08", "2025-08-09"):
        copied(make_day(tmp_path / "outputs", day), tmp_path / "set", day)
    (tmp_path / "set/daily/2025-08-09/notes.txt").write_text("mine")
    with begin(tmp_path / "set") as release:
        remove_day("2025-08-08", release)
        remove_day("2025-08-09", release)
        release.publish()
        release.done()

    assert {"daily/2025-08-09/notes.txt": "mine"} == files(tmp_path / "set")
    assert not (tmp_path / "set/daily/2025-08-08").exists()


def test_checksums_name_nothing_outside(tmp_path):
    digest = "0" * 64
    (tmp_path / NAME).write_bytes(
        render_sums({"a/b.json": digest, "../c": digest, "/etc/d": digest, "a/../../e": digest})
    )

    assert {"a/b.json": digest} == read_sums(tmp_path)
