"""Where files land and who may read them, whatever stands in an event or was planted in a directory."""

import os
import random
import re
from pathlib import Path

import pytest

from playhead.embedded.directory import load_access
from playhead.eventlog.errors import LinkInLog
from playhead.eventlog.writer import LogWriter
from playhead.projections.jobs.json_files.projection import JsonFiles
from playhead.streams.appending.spool import Spool
from playhead.streams.errors import InvalidSetting, StoreUnavailable, UnsafePath
from playhead.streams.events import Recorded, new_event
from playhead.streams.partitions import Partition
from playhead.streams.positions import Position
from playhead.streams.recordings.files import Chunk, InvalidId, RecordingFiles
from playhead.streams.sinks import Batch, Source
from playhead.streams.storage.objects import Objects

JOBS = Partition("jobs", 0)
_PARTS = [
    *(
        "..",
        ".",
        "/",
        "\\",
        "~",
        "%",
        "%2e%2e",
        "%2F",
        "%00",
        "\0",
        "\n",
        "\r",
        " ",
        "-",
        "--",
        "*",
        "?",
        "$HOME",
        "`id`",
    ),
    *(
        "etc/passwd",
        "outside",
        "summary",
        "summary.json",
        ".staging",
        "latest",
        "daily",
        "CON",
        "nul.txt",
        "a:b",
        "\u202e",
    ),
    *(
        "\u2024\u2024/",
        "\uff0e\uff0e\uff0f",
        "é",
        "e\u0301",
        "漢字",
        "\U0001f4a9",
        "\ud800",
        "\x7f",
        "\x1b[2J",
        "x" * 300,
    ),
]


def _hostile_names() -> list[str]:
    chosen = random.Random(7)
    simple = ["../outside", "../../outside", "/tmp/outside", "..\\outside", "....//outside", "outside/../..", *_PARTS]
    names = dict.fromkeys(simple)
    while len(names) < 200:
        names["".join(chosen.choices(_PARTS, k=chosen.randint(2, 5)))] = None
    return list(names)


NAMES = _hostile_names()


def event(number: int, name: str, day: str = "2025-08-09") -> Recorded:
    job = {"created_at": f"{day}T06:36:58Z", "metadata": {"scraper_id": name}}
    data = {"job_id": name, "job": job, "result": number}
    made = new_event("job.completed", subject="subject", data=data, id=f"event-{number}", time="2025-08-20T01:02:03Z")
    return Recorded(made, Position(1_754_541_721_120 + number, 0))


def batch(*events: Recorded) -> Batch:
    return Batch(Source(JOBS), events, events[-1].position)


def around(root: Path) -> set[str]:
    """Everything beside a directory, links not followed."""
    found = {str(path.relative_to(root.parent)) for path in root.parent.rglob("*")}
    return {name for name in found if name.split("/")[0] != root.name}


@pytest.fixture
def root(tmp_path) -> Path:
    (tmp_path / "outside").mkdir()
    return tmp_path / "root"


def test_two_hundred_hostile_ids_scrapers_and_days_have_files_inside_the_root_alone(root):
    sink = JsonFiles(root)
    sink.open(JOBS, 1)
    for number, name in enumerate(NAMES):
        sink.apply(batch(event(number, name)))
        sink.apply(batch(event(1000 + number, f"day-{number}", day=name.encode("utf-8", "replace").decode())))
    sink.close()
    files = list(root.glob("daily/*/scrapers/*/*.json"))

    assert 200 == len(NAMES)
    assert {"outside"} == around(root)
    assert 400 == len(files)
    assert all(path.resolve().is_relative_to(root.resolve()) and path.is_file() for path in files)
    assert {"daily", ".staging", "latest"} == {path.name for path in root.iterdir()}


def test_hostile_meetings_and_users_have_their_audio_inside_the_root_alone(root):
    files = RecordingFiles(root)
    refused = 0
    for name in NAMES:
        try:
            files.write(files.pcm(Chunk(name, name, 0)), b"audio")
        except InvalidId:
            refused += 1

    assert {"outside"} == around(root)
    assert 200 - refused == sum(1 for path in root.rglob("*.pcm") if path.resolve().is_relative_to(root.resolve()))
    assert 0 < refused < 100


def test_no_hostile_stream_names_a_directory_of_the_log(root):
    log = LogWriter(root)
    for name in NAMES:
        if not re.fullmatch(r"[a-z]+", name):
            with pytest.raises(InvalidSetting):
                log.open(Partition(name, 0), 1)

    assert {"outside"} == around(root)
    assert not root.exists()


@pytest.mark.parametrize("place", ["jobs", "jobs/0", "jobs/0/.lock", "active segment", "torn"])
def test_the_log_is_not_written_through_a_planted_link(root, place):
    log = LogWriter(root)
    log.open(JOBS, 1)
    log.apply(batch(event(1, "a")))
    log.close()
    (active,) = (root / "jobs/0").glob("*.jsonl")
    planted = {"active segment": active, "torn": active.with_name(f"{active.name}.torn")}.get(place, root / place)
    outside = root.parent / "outside" / "target"
    if planted.exists():
        planted.rename(outside)
    else:
        outside.write_bytes(b"")
    planted.symlink_to(outside)
    before = {path: path.read_bytes() for path in outside.parent.rglob("*") if path.is_file()}

    with pytest.raises(LinkInLog):
        LogWriter(root).open(JOBS, 1)
    assert before == {path: path.read_bytes() for path in outside.parent.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "place", ["daily", "daily/2025-08-09", "daily/2025-08-09/scrapers", "daily/2025-08-09/scrapers/s"]
)
def test_json_files_are_not_written_through_a_link_planted_while_they_are_served(root, place):
    sink = JsonFiles(root)
    sink.open(JOBS, 1)
    sink.apply(batch(event(1, "s")))
    (root / place).rename(root.parent / "outside" / "target")
    (root / place).symlink_to(root.parent / "outside" / "target")
    before = sorted((root.parent / "outside").rglob("*"))

    with pytest.raises(UnsafePath):
        sink.apply(batch(event(2, "s"), event(3, "s-2")))
    assert before == sorted((root.parent / "outside").rglob("*"))


@pytest.mark.parametrize("place", ["a", ".staging", "a/b"])
def test_objects_are_neither_written_nor_read_through_a_planted_link(root, place):
    objects = Objects(root)
    objects.put("a/b", b"before")
    target = root.parent / "outside" / "target"
    (root / place).rename(target)
    (root / place).symlink_to(target)
    before = everything(root.parent / "outside")
    if place == "a/b":
        assert (None, None) == (objects.get("a/b"), objects.size("a/b"))
        objects.put("a/b", b"after")
        assert b"after" == objects.get("a/b")
        assert not (root / place).is_symlink()
    else:
        for use in (lambda: objects.put("a/b", b"after"), lambda: objects.put("a/c", b"after")):
            with pytest.raises(StoreUnavailable, match="remove it"):
                use()
    if place == "a":
        with pytest.raises(StoreUnavailable, match="remove it"):
            objects.get("a/b")
        assert [] == list(objects.list())
    os.utime(target, (0, 0))
    objects.prepare()

    assert before == everything(root.parent / "outside")


@pytest.mark.parametrize("place", ["pcm", "pcm/m", "pcm/m/u", "pcm/m/u/00000000.pcm", "pcm/m/session.json"])
def test_audio_is_neither_written_nor_read_nor_removed_through_a_planted_link(root, place):
    files = RecordingFiles(root)
    chunk = Chunk("m", "u", 0)
    files.write(files.pcm(chunk), b"audio")
    files.write(files.session("m"), b"{}")
    files.remove_chunks("other")
    target = root.parent / "outside" / "target"
    (root / place).rename(target)
    (root / place).symlink_to(target)
    before = everything(root.parent / "outside")
    written = files.session("m") if place.endswith(".json") else files.pcm(chunk)

    for use in (
        lambda: files.write(written, b"changed"),
        lambda: files.path(written).read_bytes(),
        lambda: files.remove(written),
    ):
        with pytest.raises(UnsafePath, match="remove it"):
            use()
    assert ([] if "json" not in place else [chunk]) == list(files.chunks("pcm"))
    assert ([] if place in ("pcm", "pcm/m") or "json" in place else [root / "pcm/m/session.json"]) == files.sessions()
    if place in ("pcm", "pcm/m"):
        with pytest.raises(UnsafePath):
            files.remove_chunks("m")
    else:
        files.remove_chunks("m")
    assert before == everything(root.parent / "outside")


def everything(directory: Path) -> dict[Path, bytes | None]:
    return {path: path.read_bytes() if path.is_file() else None for path in sorted(directory.rglob("*"))}


def make(root: Path, kind: str) -> None:
    if kind == "recordings":
        files = RecordingFiles(root)
        return files.write(files.pcm(Chunk("meeting", "user", 0)), b"audio")
    if kind == "objects":
        return Objects(root).put("a/b", b"content")
    sink = LogWriter(root) if kind == "log" else JsonFiles(root)
    sink.open(JOBS, 1)
    sink.apply(batch(event(1, "a")))
    return sink.close()


@pytest.mark.parametrize("kind", ["log", "json-files", "recordings", "objects"])
def test_a_directory_of_payloads_is_made_for_its_owner_alone_and_one_that_is_there_keeps_its_mode(tmp_path, kind):
    before = os.umask(0o022)
    try:
        (tmp_path / "shared").mkdir()
        (tmp_path / "shared").chmod(0o2750)
        for name in ("made", "shared"):
            make(tmp_path / name, kind)
    finally:
        os.umask(before)

    assert 0o700 == (tmp_path / "made").stat().st_mode & 0o7777
    assert 0o2750 == (tmp_path / "shared").stat().st_mode & 0o7777


def test_passwords_and_spooled_events_are_for_their_owner_alone(tmp_path):
    before = os.umask(0)
    try:
        load_access(tmp_path)
        spool = Spool(tmp_path / "spool")
        spool.add([event(1, "a").event])
    finally:
        os.umask(before)

    assert 0o600 == (tmp_path / "access.json").stat().st_mode & 0o777
    assert 0o700 == (tmp_path / "spool").stat().st_mode & 0o777
    assert {0o600} == {path.stat().st_mode & 0o777 for path in (tmp_path / "spool").iterdir()}


@pytest.mark.parametrize("plant", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("/etc/passwd")])
def test_audio_that_is_no_file_is_refused_and_never_waited_for(tmp_path, plant):
    files = RecordingFiles(tmp_path)
    place = files.mp3(Chunk("m", "u", 0))
    (tmp_path / place).parent.mkdir(parents=True)
    plant(tmp_path / place)

    with pytest.raises(UnsafePath, match="no file, stands where a file belongs"):
        files.read(place)


def test_audio_below_a_link_is_refused(tmp_path):
    files = RecordingFiles(tmp_path / "recordings")
    place = files.mp3(Chunk("m", "u", 0))
    outside = tmp_path / "outside" / "m" / "u"
    outside.mkdir(parents=True)
    (outside / "00000000.mp3").write_bytes(b"secret")
    files.directory.mkdir()
    (files.directory / "mp3").symlink_to(tmp_path / "outside")

    with pytest.raises(UnsafePath):
        files.read(place)
