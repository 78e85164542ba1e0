"""The JSON files in a bucket: the bytes of the directory, the newest event wins whoever writes, and nothing is lost."""

import json
import random
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from msgspec.structs import replace

from playhead.projections.failures import classify
from playhead.projections.jobs.json_files import entries as entries_module
from playhead.projections.jobs.json_files.errors import UnreadableSummary
from playhead.projections.jobs.json_files.objects import JsonObjects
from playhead.projections.jobs.json_files.projection import JsonFiles
from playhead.projections.jobs.json_files.summaries import Entry, decode_summary, encode_summary
from playhead.projections.jobs.json_files.verification import JsonObjectsVerification
from playhead.projections.verification import Held, Stray
from playhead.streams.errors import StoreUnavailable
from playhead.streams.events import Recorded
from playhead.streams.partitions import Partition
from playhead.streams.positions import Position
from playhead.streams.sinks import Batch, Source
from playhead.streams.storage.buckets import Bucket
from playhead.streams.storage.objects import Objects
from tests.support.events import job
from tests.support.s3 import s3_server

PARTITION = Partition("jobs", 0)
ROOT = Path(__file__).parents[2]
DAY = "2025-08-09"
SUMMARY = f"daily/{DAY}/summary.json"


@pytest.fixture(scope="module")
def s3():
    with s3_server() as environment:
        yield environment


@pytest.fixture
def place(s3, monkeypatch, request):
    for name, value in s3.items():
        monkeypatch.setenv(name, value)
    return f"s3://bucket/{request.node.name}"


def recorded(number, job_id, day="2025-08-09", scraper="s", **members):
    inner = {"id": job_id, "metadata": {"scraper_id": scraper}, "created_at": f"{day}T06:36:58Z"}
    return Recorded(job(number, f"job/{job_id}", job=inner, **members), Position(1_754_800_000_000 + number, 0))


def batch(*events):
    return Batch(Source(PARTITION), events, max(event.position for event in events))


def opened(place, scratch=None):
    sink = JsonObjects(place, scratch) if isinstance(place, str) else JsonFiles(place)
    sink.open(PARTITION, 1)
    return sink


def apply(place, *events, size=100):
    sink = opened(place)
    for start in range(0, len(events), size):
        assert "applied" == sink.apply(batch(*events[start : start + size]))
    sink.close()


def objects(place):
    found = Objects(place)
    return {one.name: found.get(one.name) for one in found.list()}


def files(directory):
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file() and not path.is_symlink() and ".staging" not in path.parts and "latest" not in path.parts
    }


def results(count=60):
    """Jobs with several results each, some of which return on another day, or move to another scraper within a day."""
    chosen = random.Random(3)
    return [
        recorded(
            number,
            chosen.choice(["a", "b", "ü/..", "x" * 300, *map(str, range(8))]),
            chosen.choice(["2025-08-09", "2025-08-10"]),
            chosen.choice(["s", "a|b", ""]),
        )
        for number in range(count)
    ]


def test_a_bucket_holds_the_bytes_of_the_directory(place, tmp_path):
    events = results()
    apply(place, *events, size=7)
    apply(tmp_path, *events, size=7)
    found = objects(place)

    assert (tmp_path / "latest").readlink().as_posix() + "\n" == found.pop("latest").decode()
    assert files(tmp_path) == found


def test_any_order_again_and_from_two_processes_that_know_nothing_of_each_other_the_newest_stand(place, tmp_path):
    events = results()
    apply(tmp_path, *events)
    chosen = random.Random(4)
    first, second = opened(place), opened(place)
    for start in range(0, len(events), 5):
        part = events[start : start + 5]
        for sink in chosen.sample([first, second], 2):
            sink.apply(batch(*chosen.sample(part, len(part))))
    apply(place, *chosen.sample(events, len(events)), size=9)
    found = objects(place)
    found.pop("latest")

    assert files(tmp_path) == found
    first.close()
    second.close()


def test_a_job_that_returns_on_another_day_has_an_object_a_day_each_as_it_was(place):
    days = ["2025-08-09", "2025-08-10", "2025-08-11", "2025-08-12"]
    runs = [recorded(number, "test-job", day) for number, day in enumerate(days)]
    names = [f"daily/{day}/scrapers/s/test-job.json" for day in days]
    alone = []
    for run, name in zip(runs, names, strict=True):
        apply(place, run)
        alone.append(objects(place)[name])
    found = objects(place)
    apply(place, *reversed(runs))

    assert alone == [found[name] for name in names]
    assert [1, 1, 1, 1] == [json.loads(found[f"daily/{day}/summary.json"])["total_jobs"] for day in days]
    assert b"daily/2025-08-12\n" == found["latest"]
    assert found == objects(place)


def test_a_process_that_wakes_up_late_takes_nothing_back(place):
    late, other = opened(place), opened(place)
    late.apply(batch(recorded(0, "b")))
    other.apply(batch(recorded(2, "a", result="new")))
    before = objects(place)
    late.apply(batch(recorded(1, "a", result="old")))

    assert before == objects(place)
    late.close()
    other.close()


def test_where_the_store_is_not_asked_the_late_process_would_take_it_back(place, monkeypatch):
    monkeypatch.setattr(
        "playhead.streams.storage.buckets.Bucket.put_newer",
        lambda bucket, name, content, order: bucket.put(name, content) or True,
    )
    with pytest.raises(AssertionError):
        test_a_process_that_wakes_up_late_takes_nothing_back(place)


def test_deleted_objects_come_back_by_a_replay(place):
    events = results(20)
    apply(place, *events)
    before = objects(place)
    sink = opened(place)
    for name in before:
        Bucket(str(place)).delete(name)
    sink.apply(batch(*events))
    sink.close()

    assert {} != before == objects(place)


@pytest.mark.parametrize("step", range(1, 12))
def test_what_a_killed_process_left_is_finished_by_the_same_batch(place, monkeypatch, step, tmp_path):
    first = [recorded(1, "a"), recorded(2, "b"), recorded(3, "c", "2025-08-10")]
    second = [recorded(4, "a", "2025-08-11"), recorded(5, "b", scraper="t"), recorded(6, "c", "2025-08-10", "t")]
    apply(place, *first)
    calls = iter(range(1, 1_000))
    with monkeypatch.context() as patched:
        for method in (Bucket.put_newer, Bucket.delete, Bucket.put_file, Bucket.change):

            def counted(bucket, *arguments, method=method):
                if next(calls) >= step:
                    raise StoreUnavailable("killed")
                return method(bucket, *arguments)

            patched.setattr(Bucket, method.__name__, counted)
        sink = opened(place)
        with suppress(StoreUnavailable):
            sink.apply(batch(*second))
        sink.close()
    apply(place, *second)
    apply(tmp_path, *first, *second)
    found = objects(place)

    assert b"daily/2025-08-11\n" == found.pop("latest")
    assert files(tmp_path) == found


def test_verification_names_and_replaces_what_is_wrong(place):
    events = [recorded(1, "a"), recorded(2, "b"), recorded(3, "c"), recorded(4, "a", "2025-08-10")]
    apply(place, *events)
    names = sorted(name for name in objects(place) if "/s/" in name)
    Bucket(str(place)).delete(names[0])
    Objects(place).put(names[1], b"{}")
    verification = JsonObjectsVerification(place)
    found = list(verification.lacks(events))
    replaced = [verification.discard(lack) for lack in found if lack.repair == "replace"]
    again = verification.discard(replace(found[1], content=b"something else"))
    apply(place, *[lack.recorded for lack in found])

    assert ([True], False) == (replaced, again)
    assert [("missing", "2025-08-09/a"), ("other", "2025-08-09/b")] == [(lack.kind, lack.key) for lack in found]
    assert f"{place}/{names[0]}" == found[0].place
    assert [] == list(verification.lacks(events))


def test_verification_names_and_replaces_a_wrong_summary_and_lists_what_is_there(place):
    events = [recorded(1, "a"), recorded(2, "b"), recorded(3, "x" * 300), recorded(4, "a", "2025-08-10")]
    apply(place, *events)
    before = objects(place)
    name = "daily/2025-08-09/summary.json"
    Bucket(str(place)).put(name, before[name].replace(b"e1", b"e9"))
    Bucket(str(place)).put("daily/2025-08-09/scrapers/s/copy.json", b"{}")
    verification = JsonObjectsVerification(place)
    found = list(verification.lacks(events))
    held = list(verification.held())
    replaced = verification.discard(found[0])
    of_day = [event for event in events if verification.group(event) == found[0].key]
    apply(place, *of_day)
    after = objects(place)

    assert {("altered", "2025-08-09/summary.json", True)} == {(one.kind, one.key, one.whole) for one in found}
    assert {verification.key(event): event.event.id for event in events} == {
        one.key: one.mark for one in held if isinstance(one, Held)
    }
    assert ["2025-08-09/scrapers/s/copy.json"] == [one.key for one in held if isinstance(one, Stray)]
    assert (True, 3) == (replaced, len(of_day))
    assert before == {key: content for key, content in after.items() if "copy" not in key}


def test_latest_is_not_taken_back_by_a_process_that_does_not_know_the_newest_day(place):
    late, other = opened(place), opened(place)
    late.apply(batch(recorded(1, "a")))
    other.apply(batch(recorded(2, "a", "2025-08-11")))
    late.apply(batch(recorded(3, "b")))

    assert b"daily/2025-08-11\n" == objects(place)["latest"]
    late.close()
    other.close()


def test_latest_names_the_newest_day_that_is_there_if_the_one_it_names_was_deleted(place):
    apply(place, recorded(1, "a"), recorded(2, "b", "2025-08-10"), recorded(3, "c", "2025-08-11"))
    for name in objects(place):
        if "08-11" in name:
            Bucket(str(place)).delete(name)
    apply(place, recorded(4, "d"))

    assert b"daily/2025-08-10\n" == objects(place)["latest"]


def test_days_that_were_not_used_lately_are_read_again(place, tmp_path):
    days = [f"2025-{month:02}-{day:02}" for month in (6, 7) for day in range(1, 19)]
    first = [recorded(number, "a", day) for number, day in enumerate(days)]
    second = [recorded(100 + number, "b", day) for number, day in enumerate(days)]
    apply(place, *first, *second, size=len(days))
    apply(tmp_path, *first, *second)
    found = objects(place)
    found.pop("latest")

    assert files(tmp_path) == found


def test_a_replay_writes_no_summary_that_says_the_same(place, monkeypatch):
    events = results(20)
    apply(place, *events)
    monkeypatch.delattr(Bucket, "put_file")
    apply(place, *events)


def test_a_summary_that_is_none_is_named_until_it_is_deleted(place):
    Bucket(str(place)).put(SUMMARY, b"{}")
    sink = opened(place)
    for _ in range(2):
        with pytest.raises(UnreadableSummary, match="delete the day and replay it") as raised:
            sink.apply(batch(recorded(1, "a")))
    Bucket(str(place)).delete(SUMMARY)
    sink.apply(batch(recorded(1, "a")))
    sink.close()

    assert "lasting" == sink.classify(raised.value)
    assert ["a"] == [*decode_summary(objects(place)[SUMMARY])]


def test_nothing_in_the_scratch_directory_has_a_name(place, tmp_path):
    sink = opened(place, tmp_path / "scratch")
    sink.apply(batch(recorded(1, "a")))

    assert [] == [*(tmp_path / "scratch").iterdir()]
    sink.close()


def test_a_disk_that_is_full_fails_the_batch_and_the_days_are_read_again(place, tmp_path, monkeypatch):
    many = [recorded(number, f"{number}" * 60) for number in range(10, 60)]
    sink = opened(place, tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(entries_module, "SCHEMA", f"PRAGMA max_page_count = 6;{entries_module.SCHEMA}")
        sink.apply(batch(recorded(1, "a")))
        with pytest.raises(OSError, match="index") as raised:
            sink.apply(batch(*many))
    sink.apply(batch(*many))
    sink.close()

    assert "transient" == classify(raised.value)
    assert 51 == len(decode_summary(objects(place)[SUMMARY]))


def test_memory_does_not_grow_with_the_jobs_of_a_day(place, tmp_path):
    entries = [
        Entry(f"{number:020}", f"scraper-{number % 9}", f"{DAY}T06:36:58.000000Z", f"e{number:036}", f"{number:020}-0")
        for number in range(100_000)
    ]
    Bucket(str(place)).put(SUMMARY, encode_summary(DAY, entries))
    program = [sys.executable, "-m", "tests.integration.json_objects_program", place, str(tmp_path), DAY]
    grown = subprocess.run(program, cwd=ROOT, stdout=subprocess.PIPE, check=True, text=True).stdout
    content = Bucket(str(place)).get(SUMMARY)
    found = decode_summary(content)

    assert int(grown) < 32
    assert 20_000_000 < len(content)
    assert content == encode_summary(DAY, list(found.values()))
    assert {*(entry.job_id for entry in entries), "2", "3", "4"} == found.keys()


def test_a_bucket_that_is_away_is_waited_for(place, monkeypatch):
    sink = opened(place)
    sink.close()
    other = JsonObjects("s3://nowhere/x")
    with pytest.raises(StoreUnavailable) as caught:
        other.open(PARTITION, 1)
    other.close()

    assert "transient" == classify(caught.value)
