"""The entries of days on disk: the same summary as from memory, and no memory that grows with the jobs."""

import errno
import json
import os
import tempfile
import time
import tracemalloc
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from playhead.projections.encoding import encode, indent
from playhead.projections.jobs.json_files import entries as entries_module
from playhead.projections.jobs.json_files.entries import Entries
from playhead.projections.jobs.json_files.projection import JsonFiles
from playhead.projections.jobs.json_files.summaries import Entry, decode_summary, encode_summary, read_summary
from playhead.projections.scratch import scratch_directory
from playhead.projections.staging import STAGING
from playhead.streams.events import Recorded
from playhead.streams.partitions import Partition
from playhead.streams.positions import Position
from playhead.streams.sinks import Batch, Source
from tests.support.events import job

DAY = "2025-08-09"
JOBS = Partition("jobs", 0)
TEXTS = st.text(st.characters(codec=None) | st.sampled_from("\ud800\udfff\u0000é\U0001f600"), max_size=3)
ENTRIES = st.lists(st.builds(Entry, TEXTS, st.none() | TEXTS | st.just("unknown"), TEXTS, TEXTS, TEXTS), max_size=8)


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return tmp_path_factory.mktemp("entries")


@pytest.fixture
def entries(directory):
    entries = Entries(directory)
    yield entries
    entries.close()


def laid_out(day, entries):
    """A summary, laid out as a whole."""
    entries = sorted(entries, key=lambda entry: (entry.timestamp, entry.job_id))
    scrapers = {}
    for entry in entries:
        name = "unknown" if entry.scraper_id is None else entry.scraper_id
        scraper = scrapers.setdefault(name, {"count": 0, "first_job": entry.timestamp, "last_job": None})
        scraper |= {"count": scraper["count"] + 1, "last_job": entry.timestamp}
    jobs = [
        {name: getattr(entry, name) for name in Entry.__struct_fields__}
        | {"scraper_id": "unknown" if entry.scraper_id is None else entry.scraper_id}
        for entry in entries
    ]
    summary = {"date": day, "total_jobs": len(jobs), "scrapers": dict(sorted(scrapers.items())), "jobs": jobs}
    return indent(encode(summary))


@given(ENTRIES)
def test_a_summary_has_the_same_bytes_as_a_whole_in_memory_and_piece_by_piece_from_disk(directory, found):
    entries = Entries(directory)
    entries.put(DAY, found)
    unique = {entry.job_id: entry for entry in found}
    from_disk = b"".join(entries.summary(DAY))
    of_day = {entry.job_id: entry for entry in entries.of(DAY)}
    looked_up = entries.find(DAY, [*unique, "another"])
    entries.close()

    assert laid_out(DAY, unique.values()) == encode_summary(DAY, [*unique.values()]) == from_disk
    assert unique == of_day == looked_up


def test_more_entries_than_are_laid_out_at_once_are_all_there(entries):
    many = [Entry(f"j{number}", None, f"t{number % 7}", "e", "1-0") for number in range(1000)]
    entries.put(DAY, many)
    written = b"".join(entries.summary(DAY))

    assert laid_out(DAY, many) == written
    assert {entry.job_id: entry for entry in many} == decode_summary(written)


@pytest.mark.parametrize("text", ["é", "\ud800"])
def test_a_summary_is_read_piece_by_piece_and_as_a_whole_if_somebody_laid_it_out_in_another_way(text):
    many = [Entry(f"j{number}", text, f"t{number:06}", "e", "1-0") for number in range(5000)]
    content = encode_summary(DAY, many)
    otherwise = [
        json.dumps(json.loads(content), **how) for how in ({}, {"indent": 2, "sort_keys": True}, {"indent": 4})
    ]
    found = [[*decode_summary(one).values()] for one in (content, *map(str.encode, otherwise))]

    assert len(content) > 500_000
    assert [many] * 4 == found


@pytest.mark.parametrize("end", [-1, -2, -9, -300_000, 700, 40, 0])
def test_a_torn_summary_is_none(end):
    content = encode_summary(DAY, [Entry(f"j{number}", "s", f"t{number:06}", "e", "1-0") for number in range(5000)])
    with pytest.raises(ValueError):  # whatever JSON says
        decode_summary(content[:end] if end != -1 else content[:-1] + b"]")


def test_reading_a_summary_takes_no_memory_that_grows_with_it(directory):
    path = directory / "summary.json"
    path.write_bytes(encode_summary(DAY, [Entry(f"j{n}", "s", f"t{n:06}", "e" * 40, f"{n}-0") for n in range(20_000)]))
    with path.open("rb") as file:
        tracemalloc.start()
        count = sum(1 for _ in read_summary(file))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()

    assert 20_000 == count
    assert path.stat().st_size > 3_000_000
    assert peak < 1_500_000


def test_a_scratch_directory_is_that_for_temporary_files_where_it_cannot_be_made(tmp_path):
    wanted = tmp_path / "outputs" / ".scratch"
    made = scratch_directory(wanted)
    for age, name in ((2, "old"), (0, "new")):
        (wanted / name).touch()
        os.utime(wanted / name, (time.time() - age * 86400,) * 2)
    (tmp_path / "file").touch()

    assert (wanted, wanted, 0o700) == (made, scratch_directory(wanted), wanted.stat().st_mode & 0o777)
    assert ["new"] == os.listdir(wanted)
    assert [Path(tempfile.gettempdir())] * 2 == [scratch_directory(one) for one in (None, tmp_path / "file" / "below")]


def test_entries_are_kept_on_disk_and_not_in_memory(entries):
    def put(first, last):
        entries.put(DAY, (Entry(f"j{n}", "s", f"t{n}", f"e{n}", f"{n}-0") for n in range(first, last)))

    put(0, 100)
    tracemalloc.start()
    put(100, 20_000)
    size = sum(map(len, entries.summary(DAY)))
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert size > 2_000_000
    assert kept < 50_000
    assert peak < 500_000


class Tree(SimpleNamespace):
    """A tree of JSON files, and events that come to it one batch after the other."""

    number = 0

    def apply(self, count):
        events = [Recorded(job(number), Position(number + 1, 0)) for number in range(self.number, self.number + count)]
        self.sink.apply(Batch(Source(JOBS), events, events[-1].position))
        self.number += count

    def summarized(self):
        self.sink.settle()
        summary = json.loads((self.root / "daily" / DAY / "summary.json").read_bytes())
        return {one["job_id"] for one in summary["jobs"]}


@pytest.fixture
def tree(tmp_path):
    tree = Tree(root=tmp_path, sink=JsonFiles(tmp_path))
    tree.sink.open(JOBS, 1)
    yield tree
    tree.sink.close()


def test_the_memory_of_a_process_does_not_grow_with_the_jobs_that_it_has_seen(tree):
    tree.apply(50)
    tracemalloc.start()
    for _ in range(20):
        tree.apply(50)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert kept < 100_000
    assert {str(number) for number in range(1050)} == tree.summarized()


def test_the_index_has_no_name_in_the_tree(tree):
    tree.apply(1)

    assert [] == [path.name for path in (tree.root / STAGING).iterdir() if "index" in path.name]


def test_a_disk_that_is_full_fails_the_batch_and_the_index_is_read_again(tree, monkeypatch):
    monkeypatch.setattr(entries_module, "SCHEMA", f"PRAGMA max_page_count = 12;{entries_module.SCHEMA}")
    tree.apply(10)
    with pytest.raises(OSError, match="index") as raised:
        tree.apply(500)
    monkeypatch.undo()
    tree.apply(500)

    assert errno.ENOSPC == raised.value.errno
    assert "transient" == tree.sink.classify(raised.value)
    assert {str(number) for number in range(510)} == tree.summarized()
