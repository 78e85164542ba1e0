"""The drill: an installation is lost in part or as a whole, and comes back from backups of any age."""

import hashlib
import json
import shutil
from itertools import product

import psycopg
import pytest

from playhead.streams.content.events import capture_event
from playhead.streams.events import new_event
from playhead.streams.recordings.events import make_recording_id
from playhead.streams.recordings.files import RecordingFiles
from playhead.streams.storage.blobs import Blobs
from tests.acceptance.installation import Installation, job

CONSUMERS = ("log", "json-files", "jobs", "archives", "recordings")
STREAMS = ("jobs", "content", "recordings")
AGES = (1, 2)
PARTS = {"log": "eventlog", "blobs": "blobs", "recordings": "recordings"}
AT = "2026-01-31T12:00:00.000000Z"


class Full(Installation):
    """One with jobs, captures whose content is in blobs, and promoted recordings."""

    def __init__(self, directory, wait_until) -> None:
        super().__init__(directory, wait_until, CONSUMERS, STREAMS)

    def happen(self, age: int) -> None:
        """Two jobs, a capture and a meeting of an age."""
        blobs = Blobs(self.directory / "blobs")
        capture = capture_event(content(age), None, {"scraper_id": "s"}, blobs=blobs, id=f"capture-{age}")
        files = RecordingFiles(self.directory / "recordings")
        filename = files.recording(f"m{age}", None, make_recording_id(f"m{age}", None))
        files.write(filename, recording(age))
        self.append_events([job(2 * age), job(2 * age + 1), capture, *meeting(age, filename)])
        self.caught_up()

    def meetings(self) -> dict[str, str]:
        listed = json.loads(self.playhead("recordings", "list", "--json").stdout)
        return {one["id"]: one["status"] for one in listed}

    def problems(self, projection: str) -> list[str]:
        return sorted(fault["problem"] for fault in self.faults() if fault["projection"] == projection)

    def in_tables(self) -> set[str]:
        with psycopg.connect(self.servers.database_url) as connection:
            meetings = connection.execute("SELECT id FROM meetings WHERE status = 'PROMOTED'").fetchall()
        return self.rows() | {id_ for (id_,) in meetings}


def content(age: int) -> bytes:
    return b"%d" % age * 300_000


def recording(age: int) -> bytes:
    return b"recording %d" % age


def meeting(age: int, filename: str):
    facts = {
        "meeting.started": {"guild_id": "g", "channel_id": "c", "strategy": "meeting", "started_at": AT},
        "meeting.stopped": {"user_ids": [], "stopped_at": AT},
        "recording.promoted": {
            "recording_id": make_recording_id(f"m{age}", None),
            "user_id": None,
            "strategy": "meeting",
            "filename": filename,
            "sha256": hashlib.sha256(recording(age)).hexdigest(),
            "duration_in_ms": 10,
            "chunk_ids": [],
            "missing_chunk_ids": [],
            "created_at": AT,
        },
    }
    return [
        new_event(type, subject=f"meeting/m{age}", data={"meeting_id": f"m{age}", **data}, id=f"{type}-{age}")
        for type, data in facts.items()
    ]


def of_age(age: int) -> set[str]:
    """The ids of the events up to an age."""
    meetings = {
        f"{type}-{each}"
        for each in range(1, age + 1)
        for type in ("meeting.started", "meeting.stopped", "recording.promoted")
    }
    jobs = {str(number) for each in range(1, age + 1) for number in (2 * each, 2 * each + 1)}
    return meetings | jobs | {f"capture-{each}" for each in range(1, age + 1)}


@pytest.fixture(scope="module")
def now(tmp_path_factory, wait_until):
    """The data directory at the third age, stopped, with a backup that was made at the first and at the second one.

    What every consumer has is trimmed, but for the last entry of each stream.
    """
    root = tmp_path_factory.mktemp("drill")
    installation = Full(root / "data", wait_until)
    with installation.running():
        for age in (*AGES, 3):
            installation.happen(age)
            if age in AGES:
                done = installation.playhead("backup", str(root / "backup"), "--json")
                assert (0, age) == (done.returncode, json.loads(done.stdout)["run"]), done.stderr.decode()
        installation.trim()
        assert of_age(3) == installation.logged()
        assert [] == installation.faults()
    return root


@pytest.fixture
def installation(now, tmp_path, wait_until):
    shutil.copytree(now / "data", tmp_path / "data", symlinks=True)
    return Full(tmp_path / "data", wait_until)


def restore(installation, now, age: int) -> None:
    done = installation.playhead("restore", str(now / "backup"), "--run", str(age))
    assert done.returncode == 0, done.stderr.decode()


@pytest.mark.parametrize("ages", list(product(AGES, repeat=3)), ids=lambda ages: "-".join(map(str, ages)))
def test_what_an_older_log_blobs_or_recordings_lack_is_said_beside_servers_of_now(installation, now, tmp_path, ages):
    for (part, directory), age in zip(PARTS.items(), ages, strict=True):
        older = Full(tmp_path / f"{part}-of-{age}", installation.wait_until)
        restore(older, now, age)
        shutil.rmtree(installation.directory / directory)
        shutil.copytree(older.directory / directory, installation.directory / directory)
    log, blobs, recordings = ages

    with installation.running():
        installation.caught_up()
        logged = installation.logged()
        lacking = len(of_age(3) - logged)
        said = installation.said()
        in_tables = installation.in_tables()
        meetings = installation.meetings()
        archives, files = installation.problems("archives"), installation.problems("recordings")

    assert of_age(log) <= logged
    assert (lacking, lacking, lacking) == said
    assert {"2", "3", "4", "5", "6", "7", "m1", "m2", "m3"} == in_tables, "newer rows stay"
    known = [age for age in (1, 2, 3) if f"meeting.started-{age}" in logged]
    assert {f"m{age}": "PROMOTED" if age <= recordings else "FILES_MISSING" for age in (1, 2, 3)} == meetings
    captured = [age for age in (1, 2, 3) if f"capture-{age}" in logged]
    assert sum(age > blobs for age in captured) == len([one for one in archives if "SHA-256" in one])
    assert sum(age > recordings for age in known) == len(files)


@pytest.mark.parametrize("age", AGES)
def test_an_installation_that_is_lost_as_a_whole_comes_back_as_it_was(now, tmp_path, wait_until, age):
    installation = Full(tmp_path / "new", wait_until)
    restore(installation, now, age)

    with installation.running():
        installation.caught_up()
        assert of_age(age) == installation.logged()
        assert ((0, 0, 0), []) == (installation.said(), installation.faults())
        jobs = {one for one in of_age(age) if one.isdecimal()}
        assert jobs == installation.rows() == installation.files()
        assert {f"m{each}": "PROMOTED" for each in range(1, age + 1)} == installation.meetings()
        installation.happen(age + 1)

        assert of_age(age + 1) == installation.logged()
        assert ((0, 0, 0), []) == (installation.said(), installation.faults())


def test_the_log_alone_comes_back_beside_everything_of_now(installation, now):
    shutil.move(installation.directory / "eventlog", installation.directory / "before")
    restore(installation, now, 2)

    with installation.running():
        installation.caught_up()
        lacking = len(of_age(3) - installation.logged())
        said = installation.said()
        installation.follow_advice()
        imported = len(of_age(3) - installation.logged())

        assert 0 < imported < lacking
        assert ((lacking,) * 3, (imported,) * 3) == (said, installation.said())
