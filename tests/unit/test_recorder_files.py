"""Recorder files: what is read, what is left out and why, and that nothing outside the directory is opened."""

import json
import os
import socket
from pathlib import Path

import pytest

from playhead.eventlog.jobs import recorder_files
from playhead.eventlog.jobs.recorder_files import RecorderFiles
from playhead.eventlog.replay.chosen_files import ChosenFiles
from playhead.eventlog.replay.files import Found
from playhead.streams.errors import InvalidEvent
from playhead.streams.events import parse_time
from playhead.streams.jobs.outcomes import meanings_of
from playhead.streams.storage.file_tree import FILTERED, Skipped, shown
from tests.support.users import nobody

JOB = {"job_id": "7", "job": {"created_at": "2025-08-09 06:36:00"}, "result": "ok", "error": None}


def looked_at(directory: Path, pattern: str | None = None, **statuses: str) -> list[Found | Skipped]:
    with RecorderFiles(directory, meanings_of(statuses)) as files:
        return look_at(files, pattern)


def look_at(files: RecorderFiles, pattern: str | None = None) -> list[Found | Skipped]:
    return [
        one for name in files.names(pattern) for one in ([name] if isinstance(name, Skipped) else files.examine(name))
    ]


def job(**changed: object) -> bytes:
    return json.dumps(JOB | changed).encode()


@pytest.mark.parametrize(
    ("content", "reason", "broken"),
    [
        (b"", "not JSON", True),
        (b"{", "not JSON", True),
        (b"nonsense", "not JSON", True),
        (job()[:-1] + b', "more": NaN}', "NaN", True),
        (job(result=None).replace(b"null", b"-Infinity"), "Infinity", True),
        (b"\xef\xbb\xbf" + job(), None, None),
        (job().replace(b"ok", b"\xff"), "not UTF-8", True),
        (b"[" * 100_000 + b"]" * 100_000, "nested too deeply", True),
        (b'{"job_id": "7", "job": {"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}}", "nested too deeply", True),
        (job(job={}), "neither completed_at nor job.created_at", True),
        (job(job={}, event_id="e1"), "neither completed_at nor job.created_at", True),
        (job(job={}, event_id="ffffffff-ffff-7fff-bfff-ffffffffffff"), "neither", True),
        (job(job={}, event_id="01a20a9f-9df3-73ba-828d-8c852963ab73"), None, None),
        (job(completed_at="noon"), None, None),
        (job(completed_at="noon", job={"created_at": "noon"}), "neither completed_at nor job.created_at", True),
        (job(job_id=""), None, None),
        (job(job_id="x" * 5000), "4096", True),
        (job(job_id=7), None, None),
        (job(job_id=True), "not a job result", False),
        (job(job_id=None), "not a job result", False),
        (job(job_id=["7"]), "not a job result", False),
        (job(job="text"), "not a job result", False),
        (b'{"job_id": "7"}', "not a job result", False),
        (b"[1, 2]", "not a job result", False),
        (b"null", "not a job result", False),
    ],
)
def test_a_file_that_is_no_good_result_is_left_out_with_its_reason(tmp_path, content, reason, broken):
    (tmp_path / "one.json").write_bytes(content)

    (found,) = looked_at(tmp_path)

    if reason is None:
        assert isinstance(found, Found)
    else:
        assert isinstance(found, Skipped)
        assert (True, broken) == (reason in found.reason, found.broken)


def test_a_result_without_a_time_is_of_the_time_at_which_its_id_was_made(tmp_path):
    (tmp_path / "one.json").write_bytes(job(job={}, event_id="01a20a9f-9df3-73ba-828d-8c852963ab73"))
    (found,) = looked_at(tmp_path)

    assert isinstance(found, Found)
    assert parse_time("2026-11-23T22:56:02.547Z") == found.time


def test_only_regular_files_below_the_directory_are_read(tmp_path):
    root, outside = tmp_path / "root", tmp_path / "outside"
    (root / "a").mkdir(parents=True)
    outside.mkdir()
    for directory in (root, root / "a", outside):
        (directory / "good.json").write_bytes(job(job_id=str(directory)))
    (root / "link.json").symlink_to(outside / "good.json")
    (root / "linked").symlink_to(outside)
    (root / "latest").symlink_to("a")
    os.mkfifo(root / "fifo.json")
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(root / "socket.json"))
    (root / "directory.json").mkdir()
    (root / ".hidden.json").write_bytes(job())
    (root / "notes.txt").write_bytes(job())

    found = looked_at(root)
    listening.close()

    assert ["good.json", "a/good.json"] == [one.name for one in found if isinstance(one, Found)]
    assert {
        "link.json": "symbolic link",
        "linked": "symbolic link",
        "latest": "symbolic link",
        "fifo.json": "not a regular file",
        "socket.json": "not a regular file",
        ".hidden.json": "hidden",
        "notes.txt": "other file name",
    } == {one.name: one.reason for one in found if isinstance(one, Skipped)}


@pytest.mark.parametrize("name", ["../outside.json", "a/../../outside.json", "/etc/hostname", "a//b.json", "./x.json"])
def test_a_name_never_leads_out_of_the_directory(tmp_path, name):
    (tmp_path / "root" / "a").mkdir(parents=True)
    (tmp_path / "outside.json").write_bytes(job())

    with RecorderFiles(tmp_path / "root") as files, pytest.raises(InvalidEvent):
        files.event(name)


def test_a_directory_replaced_by_a_link_after_it_was_listed_is_not_followed(tmp_path):
    root, outside = tmp_path / "root", tmp_path / "outside"
    (root / "a").mkdir(parents=True)
    outside.mkdir()
    for directory in (root / "a", outside):
        (directory / "one.json").write_bytes(job())

    with RecorderFiles(root) as files:
        names = list(files.names())
        (root / "a").rename(root / "b")
        (root / "a").symlink_to(outside)
        (found,) = [one for name in names for one in files.examine(name)]

    assert ["a/one.json"] == names
    assert isinstance(found, Skipped)
    assert found.broken


def test_a_fifo_or_link_named_by_the_user_is_refused(tmp_path):
    os.mkfifo(tmp_path / "fifo.json")
    (tmp_path / "good.json").write_bytes(job())
    (tmp_path / "link.json").symlink_to("good.json")

    with RecorderFiles(tmp_path) as files:
        reasons = [one.reason for name in ("fifo.json", "link.json") for one in files.examine(name)]

    assert ["file: it is not a regular file", "file: it is a symbolic link; name the file itself"] == reasons


def test_a_file_over_the_limit_is_reported_and_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(recorder_files, "SIZE_LIMIT", len(job()))
    (tmp_path / "fits.json").write_bytes(job())
    (tmp_path / "large.json").write_bytes(job() + b" ")

    fits, large = looked_at(tmp_path)

    assert isinstance(fits, Found)
    assert "over the limit" in large.reason


def test_what_may_not_be_read_is_reported_and_the_rest_goes_on(tmp_path):
    (tmp_path / "shut").mkdir()
    for name in ("shut/in.json", "one.json", "two.json"):
        (tmp_path / name).write_bytes(job(job_id=name))
    (tmp_path / "one.json").chmod(0)
    (tmp_path / "shut").chmod(0)
    tmp_path.chmod(0o755)

    with RecorderFiles(tmp_path) as files, nobody():
        found = look_at(files)

    assert [Skipped("one.json", "Permission denied", broken=True)] == found[:1]
    assert ["two.json"] == [one.name for one in found if isinstance(one, Found)]
    assert [Skipped("shut/", "Permission denied", broken=True)] == found[2:]


def test_directories_in_one_another_without_end_are_reported(tmp_path):
    deep = tmp_path
    for _ in range(40):
        deep /= "d"
    deep.mkdir(parents=True)
    (deep / "one.json").write_bytes(job())

    (found,) = looked_at(tmp_path)

    assert "deeper than 32" in found.reason


def test_hostile_names_are_read_in_a_fixed_order_and_shown_without_their_control_characters(tmp_path):
    names = [b"%c.json" % byte for byte in range(1, 256) if byte not in b"./"] + [
        "\N{RIGHT-TO-LEFT OVERRIDE}.json".encode(),
        b"\x1b]0;title\x07.json",
        b"'; DROP TABLE jobs; --.json",
        b"-rf.json",
        b"$(reboot).json",
        b"a" * 240 + b".json",
    ]
    for name in names:
        (tmp_path / os.fsdecode(name)).write_bytes(job(job_id=repr(name)))

    found = looked_at(tmp_path)

    assert sorted(os.fsdecode(name) for name in names) == [one.name for one in found]
    assert all(isinstance(one, Found) for one in found)
    assert all(shown(one.name).isprintable() for one in found)
    assert found == looked_at(tmp_path)


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*", ["2025-08-09/processed/b.json", "2025-08-10/scrapers/s/c.json", "a.json"]),
        ("a.json", ["a.json"]),
        ("?.json", ["2025-08-09/processed/b.json", "2025-08-10/scrapers/s/c.json", "a.json"]),
        ("2025-08-09/*", ["2025-08-09/processed/b.json"]),
        ("*/scrapers/*", ["2025-08-10/scrapers/s/c.json"]),
        ("[bc].json", ["2025-08-09/processed/b.json", "2025-08-10/scrapers/s/c.json"]),
        ("A.json", []),
    ],
)
def test_a_pattern_is_tried_on_the_path_and_on_the_name(tmp_path, pattern, names):
    for name in ("a.json", "2025-08-09/processed/b.json", "2025-08-10/scrapers/s/c.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(job(job_id=name))

    found = looked_at(tmp_path, pattern)

    assert names == sorted(one.name for one in found if isinstance(one, Found))
    assert {(FILTERED, True)} >= {(one.reason, one.spare) for one in found if isinstance(one, Skipped)}
    assert len(found) == 3


def test_numbers_and_strings_stay_as_they_are_written(tmp_path):
    content = (
        b'{\n "job_id": "7", "job": {"created_at": "2025-08-09T06:36:00", "n": 1.50, "metadata": {"scraper_id": "s"}},'
        b'\r\n "huge": 123456789012345678901234567890, "far": 1e999, "result": "caf\\u00e9 \xc3\xa9 \\ud83d\\ude00"\n}'
    )
    (tmp_path / "one.json").write_bytes(content)

    with RecorderFiles(tmp_path) as files:
        event = files.event("one.json", imported="run")
        (found,) = files.examine("one.json")

    assert event.data == (
        b'{"job_id":"7","job":{"created_at":"2025-08-09T06:36:00","n":1.50,"metadata":{"scraper_id":"s"}},'
        b'"huge":123456789012345678901234567890,"far":1e999,"result":"caf\\u00e9 \xc3\xa9 \\ud83d\\ude00"}'
    )
    assert ("job.completed", "job/7", "2025-08-09T06:36:00.000000Z", "run") == (
        event.type,
        event.subject,
        event.time,
        event.imported,
    )
    assert ("s", event.id) == (found.scraper, found.event_id)


def test_a_lone_surrogate_is_json_and_loses_nothing(tmp_path):
    content = json.dumps(JOB | {"result": "\ud800", "\udfff": 1, "job": JOB["job"] | {"metadata": {"scraper_id": "s"}}})
    (tmp_path / "one.json").write_text(content)

    with RecorderFiles(tmp_path) as files:
        event = files.event("one.json")

    assert json.loads(content) == json.loads(event.data)
    assert "s" == recorder_files.scraper_of(event.data)


def test_the_id_is_the_one_in_the_file_or_follows_from_the_content(tmp_path):
    for name, content in {
        "a.json": job(),
        "b.json": json.dumps(JOB, indent=4).encode(),
        "c.json": job(result="other"),
        "d.json": job(event_id="mine"),
    }.items():
        (tmp_path / name).write_bytes(content)

    a, b, c, d = looked_at(tmp_path)

    assert a.event_id == b.event_id != c.event_id
    assert "mine" == d.event_id


def test_chosen_files_come_by_time_then_id_and_each_event_once():
    def found(name: str, event_id: str, time: str) -> Found:
        return Found(name, event_id, "job.completed", "job/1", None, parse_time(time))

    chosen = ChosenFiles()
    taken = [
        chosen.add(one)
        for one in (
            found("late", "1", "2025-08-09T06:36:00.000001Z"),
            found("b", "3", "2025-08-09T06:36:00Z"),
            found("a\udcff", "2", "2025-08-09T08:36:00+02:00"),
            found("twice", "3", "2025-08-10T06:36:00Z"),
            found("early", "4", "0999-01-01T00:00:00Z"),
        )
    ]
    chosen.mark_known("1")

    assert [True, True, True, False, True] == taken
    assert [("4", "early"), ("2", "a\udcff"), ("3", "b")] == [(one.event_id, one.name) for one in chosen.new()]
    assert (4, 1, True, False) == (len(chosen), chosen.known, chosen.is_known("1"), chosen.is_known("2"))
