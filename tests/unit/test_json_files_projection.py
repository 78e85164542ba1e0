"""Given events, when they are applied in some order, then these files stand in the tree."""

import json
import random
import shutil
import sys

import msgspec
import pytest

from playhead.projections.jobs.json_files.documents import make_document
from playhead.projections.jobs.json_files.errors import UnreadableSummary
from playhead.projections.jobs.json_files.index import Fact
from playhead.projections.jobs.json_files.projection import JsonFiles
from playhead.projections.jobs.json_files.verification import JsonFilesVerification
from playhead.streams.errors import Fenced, UnsafePath
from playhead.streams.events import Recorded, new_event
from playhead.streams.partitions import Partition
from playhead.streams.positions import Position
from playhead.streams.sinks import Batch, Source
from playhead.streams.storage.filenames import decode_name, encode_name

PARTITION = Partition("jobs", 0)
HOSTILE = [
    "../../evil",
    "a/b",
    "a\0b",
    "x" * 300,
    "é" * 150,
    ".",
    "..",
    ".hidden",
    "ünï 漢字",
    "%2e",
    "%",
    "summary",
    "~",
    "\ud800",
]


def recorded(number, job_id=None, *, created_at="2025-08-09T06:36:58Z", scraper="news", kind="job.completed", **more):
    job = {"metadata": {"scraper_id": scraper}} if scraper else {}
    if created_at:
        job["created_at"] = created_at
    data = {"job_id": job_id or f"job-{number}", "job": job, "result": {"n": number}, **more}
    event = new_event(kind, subject="subject", data=data, id=f"event-{number}", time="2025-08-20T01:02:03Z")
    return Recorded(event, Position(1_754_541_721_120 + number, 0))


def batch(*events):
    return Batch(Source(PARTITION), events, events[-1].position)


def opened(root, epoch=1):
    sink = JsonFiles(root)
    sink.open(PARTITION, epoch)
    return sink


def tree(root):
    found = {}
    for path in sorted(root.rglob("*")):
        if ".staging" not in path.parts:
            name = str(path.relative_to(root))
            found[name] = str(path.readlink()) if path.is_symlink() else path.read_bytes() if path.is_file() else None
    return found


def summary(root, day="2025-08-09"):
    return json.loads((root / "daily" / day / "summary.json").read_bytes())


@pytest.fixture
def root(tmp_path):
    return tmp_path / "outputs"


@pytest.mark.parametrize(
    ("created_at", "day"),
    [
        ("2025-08-11", "2025-08-11"),
        ("2025-08-11t01:00:00z", "2025-08-11"),
        ("2025-08-11t01:00:00+02:00", "2025-08-10"),
        ("2016-12-31T23:59:60Z", "2017-01-01"),
        ("2025-02-29", "2025-08-20"),
        ("", "2025-08-20"),
    ],
)
def test_a_file_belongs_to_the_day_of_created_at_however_that_is_written(created_at, day):
    assert day == make_document(recorded(1, created_at=created_at)).day


def test_a_job_has_a_file_below_its_day_and_scraper_and_latest_points_to_the_newest_day(root):
    sink = opened(root)

    outcome = sink.apply(
        batch(
            recorded(1, tags=["x"]),
            recorded(2, scraper=None, created_at="2025-08-10T01:00:00+02:00"),
            recorded(3, scraper=None, created_at="nonsense", kind="job.failed"),
        )
    )
    sink.settle()

    assert outcome == "applied"
    assert {
        "daily/2025-08-09/scrapers/news/job-1.json",
        "daily/2025-08-09/processed/job-2.json",
        "daily/2025-08-20/processed/job-3.json",
        "daily/2025-08-09/summary.json",
        "daily/2025-08-20/summary.json",
        "latest",
    } == {name for name, content in tree(root).items() if content is not None}
    assert str((root / "latest").readlink()) == "daily/2025-08-20"
    assert {path.name for path in (root / ".staging").iterdir()} == {"checkpoints", "epoch"}
    text = (root / "daily/2025-08-09/scrapers/news/job-1.json").read_text()
    expected = "job_id job status result error retry_count completed_at processing_time tags event_id"
    assert expected.split() == list(json.loads(text))
    assert text.startswith('{\n  "job_id": "job-1",\n')
    assert text.endswith('"event_id": "event-1"\n}\n')
    assert json.loads((root / "daily/2025-08-20/processed/job-3.json").read_text())["status"] == "failed"


def test_one_event_of_the_year_9999_does_not_hold_latest(root):
    sink = opened(root)
    sink.apply(batch(recorded(1, created_at="9999-12-31T23:59:59Z")))
    alone = str((root / "latest").readlink())
    sink.apply(batch(recorded(2, created_at="2025-08-09T00:00:00Z")))
    with_another = str((root / "latest").readlink())
    sink.apply(batch(recorded(3, created_at="9998-12-31T00:00:00Z"), recorded(4, created_at="2025-08-10T00:00:00Z")))
    sink.settle()

    assert ("daily/9999-12-31", "daily/2025-08-09") == (alone, with_another)
    assert "daily/2025-08-10" == str((root / "latest").readlink())
    assert (root / "daily/9999-12-31/scrapers/news/job-1.json").exists()


def test_any_arrival_order_and_redelivery_give_the_same_bytes(tmp_path):
    events = [
        recorded(
            n,
            f"job-{n % 20}",
            created_at=f"2025-08-{1 + n % 8:02d}T00:00:{n % 40:02d}Z",
            scraper=[None, "a", "unknown"][n % 3],
        )
        for n in range(120)
    ]
    trees = []
    for seed in range(4):
        root = tmp_path / str(seed)
        sink = opened(root)
        shuffled = events + events[:50]
        random.Random(seed).shuffle(shuffled)
        for start in range(0, len(shuffled), 17):
            sink.apply(batch(*shuffled[start : start + 17]))
            if seed % 2:
                sink.settle()
                sink = opened(root, start + 2)
        sink.close()
        trees.append(tree(root))

    days_of_jobs = {(event.event.id, n % 20, n % 8) for n, event in enumerate(events[-40:], 80)}
    assert all(trees[0] == other for other in trees)
    assert (
        40
        == len(days_of_jobs)
        == sum(
            json.loads(c)["total_jobs"] for n, c in trees[0].items() if n.endswith("summary.json") and "latest" not in n
        )
    )
    assert {event_id for event_id, _, _ in days_of_jobs} == {
        json.loads(c)["event_id"] for n, c in trees[0].items() if "job-" in n and "latest" not in n
    }


def test_an_older_event_never_overwrites_a_newer_one_and_the_summary_counts_jobs(root):
    sink = opened(root)
    for event in (recorded(5, "same"), recorded(4, "same"), recorded(5, "same"), recorded(6, "other")):
        sink.apply(batch(event))
    sink.settle()

    assert json.loads((root / "daily/2025-08-09/scrapers/news/same.json").read_bytes())["result"]["n"] == 5
    assert 2 == summary(root)["total_jobs"] == summary(root)["scrapers"]["news"]["count"]


def test_a_job_that_returns_on_another_day_is_another_run_whose_files_all_stay(root):
    days = ["2025-08-09", "2025-08-10", "2025-08-11", "2025-08-12"]
    runs = [recorded(n, "test-job", created_at=f"{day}T06:36:58Z") for n, day in enumerate(days)]
    names = [f"daily/{day}/scrapers/news/test-job.json" for day in days]
    sink = opened(root)
    alone = []
    for run, name in zip(runs, names, strict=True):
        sink.apply(batch(run))
        alone.append((root / name).read_bytes())
    sink.settle()
    found = tree(root)

    assert alone == [found[name] for name in names]
    assert [(1, f"event-{n}") for n in range(4)] == [
        (summary(root, day)["total_jobs"], summary(root, day)["jobs"][0]["event_id"]) for day in days
    ]

    sink.apply(batch(*reversed(runs)))
    sink.close()
    sink = opened(root, 2)
    sink.apply(batch(recorded(0, "test-job", created_at="2025-08-10T06:36:58Z", result="older")))
    sink.close()

    assert found == tree(root)


def test_a_newer_result_of_a_day_replaces_that_of_another_scraper_and_no_other_day(root):
    sink = opened(root)
    sink.apply(batch(recorded(1, "a"), recorded(2, "a", created_at="2025-08-10T00:00:00Z", scraper="sports")))
    sink.apply(batch(recorded(3, "a", created_at="2025-08-10T00:00:00Z", scraper=None)))
    sink.close()

    assert {
        "daily/2025-08-09/scrapers/news/a.json": "event-1",
        "daily/2025-08-10/processed/a.json": "event-3",
    } == {
        str(path.relative_to(root)): json.loads(path.read_bytes())["event_id"] for path in root.glob("daily/**/a.json")
    }
    assert {"unknown": 1} == {name: one["count"] for name, one in summary(root, "2025-08-10")["scrapers"].items()}


@pytest.mark.parametrize("removed", [True, False], ids=["removed", "not yet removed"])
@pytest.mark.parametrize("moves", [1, 2])
def test_a_journal_of_the_version_that_kept_one_file_a_job_is_folded_in(root, removed, moves):
    first, last = recorded(1, "a"), recorded(1 + moves, "a", created_at="2025-08-10T00:00:00Z")
    sink = opened(root)
    sink.apply(batch(first, recorded(9)))
    sink.close()
    before = tree(root)
    sink = opened(root, 2)
    standing, day = make_document(first).entry, "2025-08-09"
    sink.apply(batch(last))
    facts: list[Fact] = []
    for n in range(2, 2 + moves):
        document = make_document(recorded(n, "a", created_at="2025-08-10T00:00:00Z"))
        facts.append(Fact(document.day, document.entry, day, standing))
        day, standing = document.day, document.entry
    (root / ".staging/journal").write_bytes(b"".join(fact.encode() for fact in facts))
    if removed:
        (root / "daily/2025-08-09/scrapers/news/a.json").unlink()

    sink = opened(root, 3)
    after = tree(root)
    sink.apply(batch(first))
    sink.close()

    left = {"job-9"} if removed else {"a", "job-9"}
    assert left == {job["job_id"] for job in json.loads(after["daily/2025-08-09/summary.json"])["jobs"]}
    assert [f"event-{1 + moves}"] == [job["event_id"] for job in summary(root, "2025-08-10")["jobs"]]
    kept = {name: content for name, content in before.items() if name.startswith("daily/2025-08-09")}
    assert kept == {name: content for name, content in tree(root).items() if name.startswith("daily/2025-08-09")}


def test_verification_names_a_missing_file_of_an_earlier_day_and_no_file_that_no_event_gave(root):
    runs = [recorded(n, "test-job", created_at=f"2025-08-{n:02d}T06:36:58Z") for n in (9, 10, 11)]
    sink = opened(root)
    sink.apply(batch(*runs))
    whole = tree(root)
    missing = root / "daily/2025-08-09/scrapers/news/test-job.json"
    missing.unlink()
    (root / "daily/2025-08-10/scrapers/news/test-job.json").write_bytes(
        whole["daily/2025-08-11/scrapers/news/test-job.json"]
    )
    stray = root / "daily/2025-08-11/scrapers/news/stray.json"
    stray.write_text("{}")
    verification = JsonFilesVerification(root)
    lacks = list(verification.lacks(runs))
    for lack in lacks:
        verification.discard(lack)
    sink.apply(batch(*(lack.recorded for lack in lacks)))
    sink.close()
    stray.unlink()

    assert [("missing", "2025-08-09/test-job"), ("other", "2025-08-10/test-job")] == [
        (lack.kind, lack.key) for lack in lacks
    ]
    assert str(missing) == lacks[0].place
    assert ["2025-08-09/test-job", "2025-08-10/test-job", "2025-08-11/test-job"] == [
        verification.key(run) for run in runs
    ]
    assert whole.items() <= tree(root).items()


@pytest.mark.parametrize("job_id", HOSTILE, ids=ascii)
def test_a_hostile_id_stays_inside_the_root(root, job_id):
    sink = opened(root)
    sink.apply(batch(recorded(1, job_id, scraper=job_id)))
    sink.close()
    sink = opened(root, 2)
    sink.apply(batch(recorded(1, job_id, scraper=job_id)))
    sink.close()

    assert [path.name for path in (root.parent).iterdir()] == ["outputs"]
    (path,) = (root / "daily/2025-08-09/scrapers").glob("*/*.json")
    assert job_id == json.loads(path.read_bytes())["job_id"]
    assert job_id == summary(root)["jobs"][0]["job_id"]
    if "~" not in path.stem:
        assert job_id == decode_name(path.name.removesuffix(".json")) == decode_name(path.parent.name)


def test_names_differ_where_ids_differ():
    ids = [*HOSTILE, "", "x" * 299, "%25", "%7E"]

    assert len(ids) == len({encode_name(identifier) for identifier in ids})


@pytest.mark.parametrize(
    "planted", ["daily", "daily/2025-08-09", "daily/2025-08-09/scrapers", "daily/2025-08-09/scrapers/news"]
)
def test_a_planted_link_is_not_followed(root, tmp_path, planted):
    sink = opened(root)
    outside = tmp_path / "outside"
    outside.mkdir()
    (root / planted).parent.mkdir(parents=True, exist_ok=True)
    (root / planted).symlink_to(outside)

    with pytest.raises(UnsafePath):
        sink.apply(batch(recorded(1)))
    assert [path.name for path in (outside).iterdir()] == []


def test_a_fenced_owner_writes_nothing(root):
    old = opened(root, 1)
    old.apply(batch(recorded(1)))
    new = opened(root, 2)
    before = tree(root)

    assert old.apply(batch(recorded(2), recorded(1, result=2))) == "fenced"
    old.settle()
    with pytest.raises(Fenced):
        old.open(PARTITION, 1)
    with pytest.raises(Fenced):
        opened(root, 1)
    old.close()
    assert before == tree(root)
    assert new.apply(batch(recorded(2))) == "applied"


def test_a_fenced_owner_can_own_the_tree_again(root):
    other = Partition("jobs", 1)
    old = opened(root, 1)
    old.open(other, 1)
    old.apply(batch(recorded(1)))
    new = opened(root, 2)
    new.open(other, 2)
    new.apply(batch(recorded(2), recorded(3, "job-1")))
    of_other = Batch(Source(other), [recorded(4)], recorded(4).position)
    with pytest.raises(Fenced):
        old.open(PARTITION, 1)
    fenced = old.apply(batch(recorded(4)))

    old.open(PARTITION, 3)

    assert (fenced, new.apply(of_other)) == ("fenced", "fenced")
    assert old.apply(of_other) == "fenced", "its own place in that partition is out of date"
    with pytest.raises(Fenced):
        old.open(other, 1)
    old.open(other, 3)
    assert (old.apply(of_other), old.apply(batch(recorded(1)))) == ("applied", "applied")
    old.close()
    found = tree(root)
    assert {"job-1", "job-2", "job-4"} == {path.stem for path in root.rglob("scrapers/*/*.json")}
    assert "event-3" in str(found), "what the owner in between wrote stands"


def test_an_owner_fenced_after_its_look_writes_no_file(root, monkeypatch):
    old = opened(root, 1)
    publish = old._publish  # noqa: SLF001  # the moment between its look and its first write

    def fenced_now(facts):
        opened(root, 2)
        publish(facts)

    monkeypatch.setattr(old, "_publish", fenced_now)

    assert old.apply(batch(recorded(1))) == "fenced"
    assert list(root.rglob("*.json")) == []


@pytest.mark.parametrize(
    "victim", [".", "daily", "daily/2025-08-09", "daily/2025-08-09/summary.json", "daily/2025-08-09/scrapers", "latest"]
)
def test_what_was_deleted_comes_back_with_a_replay(root, victim):
    sink = opened(root)
    events = [recorded(n, created_at=f"2025-08-{9 + n % 2:02d}T00:00:00Z") for n in range(20)]
    sink.apply(batch(*events))
    sink.settle()
    before = tree(root)
    path = root / victim
    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()

    for event in events:
        assert sink.apply(batch(event)) == "applied"
    sink.settle()

    assert before == tree(root)


def test_a_journal_left_by_a_crash_is_folded_in_where_its_files_stand(root, tmp_path):
    crashed = opened(root, 1)
    crashed.apply(batch(recorded(1), recorded(2), recorded(3, "moves")))
    crashed.apply(batch(recorded(4, "moves", scraper="other")))
    with (root / ".staging/journal").open("ab") as journal:
        journal.write(b'{"day":"2025-')
    (root / "daily/2025-08-09/scrapers/news/job-2.json").unlink()

    sink = opened(root, 2)

    assert [job["job_id"] for job in summary(root)["jobs"]] == ["job-1", "moves"]
    assert {path.name for path in (root / ".staging").iterdir()} == {"checkpoints", "epoch"}
    sink.apply(batch(recorded(2)))
    assert (root / "daily/2025-08-09/scrapers/news/job-2.json").exists()
    assert not (root / "daily/2025-08-09/scrapers/news/moves.json").exists()


def test_a_journal_is_folded_in_at_the_next_open_if_the_first_one_fails(root):
    crashed = opened(root, 1)
    crashed.apply(batch(recorded(1), recorded(2, created_at="2025-08-10")))
    crashed.settle()
    crashed.apply(batch(recorded(3), recorded(4, created_at="2025-08-10")))
    broken = root / "daily/2025-08-09/summary.json"
    whole = broken.read_bytes()
    broken.write_bytes(b"{damaged")
    sink = JsonFiles(root)

    for _ in range(2):
        with pytest.raises(UnreadableSummary):
            sink.open(PARTITION, 2)
    with pytest.raises(UnreadableSummary):
        sink.apply(batch(recorded(5, created_at="2025-08-10")))
    sink.close()
    with pytest.raises(UnreadableSummary):
        sink.open(PARTITION, 2)
    broken.write_bytes(whole)
    reached = sink.open(PARTITION, 2)
    sink.apply(batch(recorded(5, created_at="2025-08-10")))
    sink.settle()

    assert reached == recorded(4).position
    assert {"job-1", "job-3"} == {job["job_id"] for job in summary(root)["jobs"]}
    assert {"job-2", "job-4", "job-5"} == {job["job_id"] for job in summary(root, "2025-08-10")["jobs"]}
    sink.close()


def test_a_journal_is_folded_in_by_a_batch_if_the_open_before_failed(root):
    crashed = opened(root, 1)
    crashed.apply(batch(recorded(1)))
    crashed.settle()
    crashed.apply(batch(recorded(2)))
    broken = root / "daily/2025-08-09/summary.json"
    whole = broken.read_bytes()
    broken.write_bytes(b"{damaged")
    sink = JsonFiles(root)
    with pytest.raises(UnreadableSummary):
        sink.open(PARTITION, 2)
    broken.write_bytes(whole)

    sink.settle()

    assert {"job-1", "job-2"} == {job["job_id"] for job in summary(root)["jobs"]}
    sink.close()


def test_an_event_that_cannot_be_laid_out_leaves_nothing_of_its_batch_behind(root):
    sink = opened(root)
    good, bad = recorded(1), recorded(2)
    bad = msgspec.structs.replace(bad, event=msgspec.structs.replace(bad.event, data=b'{"job_id": "job-2", "n": NaN}'))

    with pytest.raises(ValueError, match="JSON"):
        sink.apply(batch(good, bad))

    assert {path.name for path in (root / ".staging").iterdir()} == {"epoch"}
    assert not (root / "daily").exists()


def test_a_second_partition_is_opened_without_starting_over(root):
    sink = opened(root, 5)
    sink.apply(batch(recorded(1)))
    sink.open(Partition("jobs", 1), 3)

    assert sink.apply(batch(recorded(2))) == "applied"
    sink.close()
    assert summary(root)["total_jobs"] == 2


def test_health_names_a_missing_root(root):
    sink = JsonFiles(root)

    assert "No such file" in str(sink.health())
    sink.open(PARTITION, 1)
    assert sink.health() is None


def test_deeply_nested_results_survive(root):
    depth = sys.getrecursionlimit() * 2
    sink = opened(root)
    data = b'{"job_id":"deep","result":' + b"[" * depth + b"]" * depth + b"}"
    event = msgspec.structs.replace(recorded(1).event, data=data)
    sink.apply(batch(Recorded(event, Position(1, 0))))
    sink = opened(root, 2)

    assert summary(root, "2025-08-20")["total_jobs"] == 1
