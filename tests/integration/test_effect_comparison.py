"""Given consumers that go on, when rows and files are compared with the log, then what is newer is no fault."""

import json
import shutil
from itertools import count
from threading import Event, Thread

import psycopg
import pytest

from playhead.comparison import level
from playhead.comparison.effects import EffectComparison
from playhead.comparison.level import partitions_of
from playhead.consumers.reading.parked import ParkedEvents
from playhead.eventlog.replay.replay import Replay, new_run
from playhead.projections.jobs.json_files.verification import JsonFilesVerification
from playhead.projections.jobs.table.verification import JobsVerification
from playhead.streams.events import Recorded
from playhead.streams.positions import Position
from playhead.streams.redis.stream_info import group_position
from playhead.streams.sinks import Batch, Source
from tests.support.events import job
from tests.support.pipeline import JOBS
from tests.support.places import place_of


@pytest.fixture
def redis_server(valkey):
    return valkey


class Sinks:
    """The rows and files of a pipeline, and what comes of comparing and repairing them."""

    def __init__(self, pipeline) -> None:
        self.pipeline = pipeline
        self.log, self.files = pipeline.directory / "eventlog", pipeline.directory / "outputs"

    def verification(self, name):
        if name == "jobs":
            return JobsVerification(place_of("jobs", self.pipeline.database))
        return JsonFilesVerification(self.files)

    def compare(self, name, *, log_is_whole=True, repair=False, meanwhile=lambda: None, checkpoints=None):
        partitions = partitions_of(self.log, ["jobs"], [JOBS])
        reached = {one: group_position(self.pipeline.redis, one, name) for one in partitions}
        verification = self.verification(name)
        comparison = EffectComparison(self.pipeline.redis, self.log, name, partitions, verification)
        found = comparison.compare(reached, checkpoints or {}, log_is_whole=log_is_whole)
        meanwhile()
        if repair:
            replay = Replay(self.pipeline.redis, new_run(), {"jobs": (name,)})
            replay.send(comparison.repair(found.faults))
            replay.finish()
        verification.close()
        return found

    def file(self, name):
        (path,) = self.files.glob(f"daily/*/scrapers/*/{name}.json")
        return path

    def tree(self):
        return {path: path.read_bytes() for path in self.files.glob("daily/**/*.json")}

    def columns(self):
        with psycopg.connect(self.pipeline.database) as connection:
            return connection.execute("SELECT jobs::text FROM jobs ORDER BY job_id").fetchall()


@pytest.fixture
def sinks(pipeline, monkeypatch):
    monkeypatch.setattr(level, "_LOG_SECONDS", 0.2)
    return Sinks(pipeline)


def faults(found):
    return [(fault.kind, fault.key) for fault in found.faults]


BOTH = pytest.mark.parametrize(("name", "prefix"), [("jobs", ""), ("json-files", "2025-08-09/")])


def test_an_event_that_an_operator_dropped_is_no_fault(sinks, pipeline):
    pipeline.append(job(1, "job/a"), job(2, "job/b", job_id=None), job(3, "job/b"))
    pipeline.start("log", "jobs")
    pipeline.caught_up("log", "jobs")
    pipeline.stop()
    parked = sinks.compare("jobs")
    events = ParkedEvents(pipeline.redis, "jobs", JOBS)
    for one in list(events):
        events.drop(one)
    dropped = sinks.compare("jobs")
    with psycopg.connect(pipeline.database) as connection:
        connection.execute("DELETE FROM jobs")

    assert ([], [], []) == (faults(parked), faults(dropped), list(events))
    assert [("missing", "a")] == faults(sinks.compare("jobs"))


@BOTH
def test_what_the_log_has_not_written_yet_is_neither_a_fault_nor_replaced(sinks, pipeline, name, prefix):
    pipeline.append(*(job(number, f"job/{number % 3}") for number in range(6)))
    pipeline.start()
    pipeline.caught_up()
    pipeline.stop()
    pipeline.start("json-files", "jobs")
    pipeline.append(job(6, "job/0"), job(7, "job/new"))
    pipeline.caught_up("json-files", "jobs")
    tree, columns = sinks.tree(), sinks.columns()

    found = sinks.compare(name, repair=True)

    assert ([], [f"{prefix}0", f"{prefix}new"]) == (faults(found), found.undecided)
    assert "log writer has not written all of jobs/0" in found.reason
    assert (tree, columns) == (sinks.tree(), sinks.columns())

    pipeline.start("log")
    pipeline.caught_up("log")
    again = sinks.compare(name)

    assert ([], []) == (faults(again), list(again.undecided))


@BOTH
def test_an_older_log_takes_nothing_from_newer_rows_and_files(sinks, pipeline, name, prefix):
    pipeline.append(*(job(number, f"job/{number % 3}") for number in range(6)))
    pipeline.start()
    pipeline.caught_up()
    pipeline.stop()
    shutil.copytree(sinks.log, older := pipeline.directory / "older")
    pipeline.start()
    pipeline.append(job(6, "job/0"), job(7, "job/new"))
    pipeline.caught_up()
    tree, columns = sinks.tree(), sinks.columns()
    sinks.log = older

    found = sinks.compare(name, repair=True)

    assert ([], [f"{prefix}0", f"{prefix}new"]) == (faults(found), found.undecided)
    assert "the log lacks events of jobs/0" in found.reason
    assert (tree, columns) == (sinks.tree(), sinks.columns())


@BOTH
def test_an_event_that_a_level_log_does_not_have_is_named_and_its_effect_stays(sinks, pipeline, name, prefix):
    pipeline.append(job(0, "job/0"), job(1, "job/1"))
    pipeline.start()
    pipeline.caught_up()
    pipeline.stop()
    later = [
        Recorded(job(number, subject), Position(2_000_000_000_000 + number, 0))
        for number, subject in [(6, "job/0"), (7, "job/new")]
    ]
    sink = pipeline.make_sink(name)
    sink.open(JOBS, 1 << 60)
    sink.apply(Batch(Source(JOBS), later, later[-1].position))
    sink.close()
    tree, columns = sinks.tree(), sinks.columns()

    found = sinks.compare(name, repair=True)
    behind_checkpoint = sinks.compare(name, checkpoints={JOBS: later[-1].position})

    assert [("unlogged", f"{prefix}0"), ("unlogged", f"{prefix}new")] == faults(found)
    assert {"none"} == {fault.repair for fault in found.faults}
    assert (tree, columns) == (sinks.tree(), sinks.columns())
    assert ([], [f"{prefix}0", f"{prefix}new"]) == (faults(behind_checkpoint), behind_checkpoint.undecided)
    assert "the log ends before the checkpoint of jobs/0" in behind_checkpoint.reason


@BOTH
def test_a_damaged_log_takes_nothing(sinks, pipeline, name, prefix):
    pipeline.append(*(job(number, f"job/{number % 3}") for number in range(6)))
    pipeline.start()
    pipeline.caught_up()
    (segment,) = (sinks.log / "jobs/0").glob("*.jsonl")
    segment.write_bytes(
        segment.read_bytes().replace(b'"result":5', b'"result":9').replace(b'"result": 5', b'"result": 9')
    )
    tree, columns = sinks.tree(), sinks.columns()

    found = sinks.compare(name, log_is_whole=False, repair=True)

    assert ([], [f"{prefix}2"], "the log is damaged") == (faults(found), found.undecided, found.reason)
    assert (tree, columns) == (sinks.tree(), sinks.columns())


def test_a_file_that_was_changed_since_it_was_judged_is_not_replaced(sinks, pipeline):
    pipeline.append(job(0, "job/0"), job(1, "job/1"))
    pipeline.start()
    pipeline.caught_up()
    first, second = sinks.file("0"), sinks.file("1")
    whole = second.read_bytes()
    for file in (first, second):
        file.write_bytes(file.read_bytes().replace(b"completed", b"COMPLETED"))
    newer = first.read_bytes().replace(b'"event_id": "e0"', b'"event_id": "e9"')

    found = sinks.compare("json-files", repair=True, meanwhile=lambda: first.write_bytes(newer))

    assert [("altered", "2025-08-09/0"), ("altered", "2025-08-09/1")] == faults(found)
    assert (newer, whole) == (first.read_bytes(), second.read_bytes())
    assert 1 == len(list((sinks.files / ".replaced").iterdir()))


def test_a_row_that_was_written_since_it_was_judged_is_not_replaced(sinks, pipeline):
    pipeline.append(job(0, "job/0"), job(1, "job/1"))
    pipeline.start()
    pipeline.caught_up()
    whole = sinks.columns()
    with psycopg.connect(pipeline.database) as connection:
        connection.execute("UPDATE jobs SET status = 'x', error = 'by hand'")

    def newer():
        with psycopg.connect(pipeline.database) as connection:
            connection.execute("UPDATE jobs SET event_order = '9' || substr(event_order, 2) WHERE job_id = '0'")

    found = sinks.compare("jobs", repair=True, meanwhile=newer)
    with psycopg.connect(pipeline.database) as connection:
        statuses = dict(connection.execute("SELECT job_id, status FROM jobs").fetchall())

    assert [("altered", "0"), ("altered", "1")] == faults(found)
    assert {"0": "x", "1": "completed"} == statuses
    assert whole[1] in sinks.columns()


def test_rows_and_files_that_are_written_all_the_time_are_well(sinks, pipeline, monkeypatch):
    monkeypatch.setattr(level, "_LOG_SECONDS", 30)
    pipeline.append(*(job(number, f"job/{number % 7}") for number in range(20)))
    pipeline.start()
    pipeline.caught_up()
    stopping, numbers = Event(), count(20)

    def append() -> None:
        while not stopping.wait(0.02):
            number = next(numbers)
            pipeline.append(job(number, f"job/{number % 7}"), job(number * -1, f"job/new-{number}"))

    appending = Thread(target=append)
    appending.start()
    try:
        compared = [sinks.compare(name) for _ in range(10) for name in ("jobs", "json-files")]
    finally:
        stopping.set()
        appending.join()

    assert [([], [])] * 20 == [(faults(found), list(found.undecided)) for found in compared]


def put_in_summary(path):
    """The bytes of a summary that names the last job alone, as a version of before left one after a crash."""
    summary = json.loads(path.read_bytes())
    summary |= {"total_jobs": 1, "jobs": summary["jobs"][-1:]}
    return json.dumps(summary, indent=2).encode() + b"\n"


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("kind", ["altered", "uncounted", "cut", "missing"])
def test_a_summary_that_is_not_what_the_files_say_is_found_and_written_again(sinks, pipeline, kind, restart):
    days = ["2025-08-09", "2025-08-10"]
    jobs = [(f"{day}{n}", f"{days[day]}T06:00:00") for day in (0, 1) for n in range(5)]
    jobs.append(("01", f"{days[0]}T07:00:00"))
    pipeline.append(*(job(number, f"job/{id}", job={"created_at": at}) for number, (id, at) in enumerate(jobs)))
    pipeline.start()
    pipeline.caught_up()
    summary = sinks.files / "daily" / days[0] / "summary.json"
    pipeline.wait_until(lambda: summary.exists() and b'"total_jobs": 5' in summary.read_bytes())
    tree = sinks.tree()
    if restart:
        pipeline.stop()
    match kind:
        case "altered":
            summary.write_bytes(tree[summary].replace(b'"e3"', b'"e9"'))
        case "uncounted":
            summary.write_bytes(put_in_summary(summary))
        case "cut":
            summary.write_bytes(tree[summary][:100])
        case "missing":
            summary.unlink()
    well = sinks.compare("jobs")
    found = sinks.compare("json-files")
    if restart:
        pipeline.start()
        pipeline.wait_until(lambda: not pipeline.behind())
    sinks.compare("json-files", repair=True)
    pipeline.wait_until(lambda: sinks.tree() == tree)

    assert [] == faults(well)
    named = [("missing" if kind == "missing" else "altered", f"{days[0]}/summary.json")]
    assert named == [one for one in faults(found) if one[0] != "unlogged"]
    assert ([], []) == (faults(again := sinks.compare("json-files")), list(again.undecided))


def test_files_that_no_event_wrote_are_named_and_stay(sinks, pipeline):
    pipeline.append(job(0, "job/0"), job(1, "job/1"))
    pipeline.start()
    pipeline.caught_up()
    day = sinks.file("0").parents[2]
    mine = sinks.file("0").read_bytes()
    result = {"job_id": "9", "job": {"created_at": "2025-08-09T01:00:00Z"}, "result": 1, "error": None}
    strays = {
        "daily/notes.txt": b"by hand",
        "daily/2025-08-09/scrapers/s/copy.json": b"{}",
        "daily/2025-08-10/scrapers/s/0.json": mine,
        "daily/2025-08-09/recorder/9.json": json.dumps(result).encode(),
    }
    for name, content in strays.items():
        (sinks.files / name).parent.mkdir(parents=True, exist_ok=True)
        (sinks.files / name).write_bytes(content)
    (day / "link.json").symlink_to(sinks.file("1"))

    found = sinks.compare("json-files", repair=True)

    assert {
        ("stray", "notes.txt"),
        ("stray", "2025-08-09/scrapers/s/copy.json"),
        ("stray", "2025-08-09/link.json"),
        ("stray", "2025-08-10/0"),
        ("unlogged", "2025-08-09/9"),
    } == set(faults(found))
    assert all((sinks.files / name).read_bytes() == content for name, content in strays.items())
    (unlogged,) = (fault for fault in found.faults if fault.kind == "unlogged")
    assert "playhead replay --use-default-output-dir" in unlogged.problem


def test_an_output_directory_that_was_moved_away_is_named_file_by_file_and_comes_back(sinks, pipeline):
    pipeline.append(*(job(number, f"job/{number % 3}") for number in range(6)))
    pipeline.start()
    pipeline.caught_up()
    summary = sinks.files / "daily" / "2025-08-09" / "summary.json"
    pipeline.wait_until(lambda: summary.exists() and b'"e5"' in summary.read_bytes())
    tree = sinks.tree()
    sinks.files.rename(sinks.files.with_name("moved"))

    found = sinks.compare("json-files", repair=True)
    pipeline.wait_until(lambda: sinks.tree() == tree)

    assert [("missing", f"2025-08-09/{number}") for number in range(3)] == faults(found)


TEXTS = ["scraper_id", "status", "model", "source_url", "result_text", "error", "event_id", "event_type", "position"]
NUMBERS = ["prompt_tokens", "completion_tokens", "total_tokens", "retry_count", "processing_time"]
CHANGES = [
    *(f"{column} = 'by hand'" for column in TEXTS),
    *(f'{column} = \'{{"by": "hand"}}\'' for column in ("result", "job")),
    *(f"{column} = 7" for column in NUMBERS),
    *(f"{column} = now()" for column in ("created_at", "completed_at")),
]
UNUSUAL = ["text", {"a\0b": 1}, "\ud800", [1.5, None], None, {"model": "m", "usage": {"total_tokens": 2}}, '{"a": 1}']


def test_every_changed_column_of_a_row_is_found_and_written_again(sinks, pipeline):
    pipeline.append(*(job(number, result=result) for number, result in enumerate([*CHANGES, *UNUSUAL])))
    pipeline.start()
    pipeline.caught_up()
    whole = sinks.columns()
    well = sinks.compare("jobs")
    with psycopg.connect(pipeline.database) as connection:
        for number, change in enumerate(CHANGES):
            connection.execute(f"UPDATE jobs SET {change} WHERE job_id = '{number}'")
        for members in ({"job_id": "by hand"}, {"job_id": "x", "event_order": ""}):
            made = "(jsonb_populate_record(jobs, %s::jsonb)).*"
            connection.execute(f"INSERT INTO jobs SELECT {made} FROM jobs LIMIT 1", (json.dumps(members),))

    found = sinks.compare("jobs", repair=True)

    assert [] == faults(well)
    altered = [("altered", str(number)) for number in range(len(CHANGES))]
    assert sorted([*altered, ("stray", "by hand"), ("stray", "x")]) == sorted(faults(found))
    assert set(whole) < set(sinks.columns())
    assert [("stray", "by hand"), ("stray", "x")] == sorted(faults(sinks.compare("jobs")))
