"""`playhead publish` on projections that real sinks wrote, into directories and git repositories."""

import json
import re
import shutil
import sqlite3
import subprocess
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
import pytest

from playhead.commands.app import make_app
from playhead.organizations.publication.errors import GitFailed, NothingThere
from playhead.projections.jobs.json_files.projection import JsonFiles
from playhead.projections.migrations import DatabaseNotUpgraded
from playhead.projections.organizations.projection import Organizations
from playhead.settings.settings import declared
from playhead.streams.errors import InvalidSetting
from playhead.streams.events import Event, Recorded
from playhead.streams.partitions import Partition
from playhead.streams.positions import Position
from playhead.streams.sinks import Batch, Source
from playhead.terminal.failures import exit_code
from tests.support.databases import make_database
from tests.support.places import place_of

PARTITION = Partition("jobs", 0)
REPLAY = Source(PARTITION, "run-1")
DOCS = Path(__file__).parents[2] / "docs"


def result(name, street, latitude, day="TU", **members):
    place = {"address_1": street, "city": "Ashford", "state_province": "OH", "postal_code": "44999"}
    return {
        "organization": {
            "name": name,
            "description": "groceries",
            "phones": [{"number": "330-555-0100"}],
            "locations": [place | {"latitude": latitude, "longitude": -81.52}],
            "services": [
                {"name": "Food Pantry", "schedules": [{"byday": day, "opens_at": "10:00", "closes_at": "12:00"}]}
            ],
            **members,
        }
    }


class Set:
    """Projections and a directory that they are published to."""

    def __init__(self, url, outputs, directory, capsys):
        self.url, self.outputs, self.directory, self._capsys = url, outputs, directory, capsys
        self._number = 0

    def record(self, result, job_id=None, scraper="list", day="2025-08-09"):
        self._number += 1
        number = self._number
        payload = {
            "job_id": job_id or f"j{number}",
            "job": {"metadata": {"scraper_id": scraper}, "created_at": f"{day} 06:00:{number:02}"},
            "result": json.dumps(result),
        }
        event = Event(
            id=f"e{number}",
            source="test",
            type="job.completed",
            time=f"{day}T07:00:00Z",
            subject=payload["job_id"],
            data=json.dumps(payload).encode(),
        )
        recorded = Recorded(event, Position(1754800000000 + number, 0))
        for sink in (Organizations(place_of("organizations", self.url)), JsonFiles(self.outputs)):
            sink.open(PARTITION, 1)
            assert "applied" == sink.apply(Batch(REPLAY, [recorded], recorded.position))
            sink.close()

    def publish(self, *options, to=None):
        make_app()(
            ["publish", "--to", str(to or self.directory), "--json", *options],
            result_action="return_value",
            exit_on_error=False,
        )
        return json.loads(self._capsys.readouterr().out)

    def git(self, *arguments):
        return git(self.directory, *arguments)


def git(directory, *arguments):
    command = ["git", "-C", str(directory), "-c", "user.name=t", "-c", "user.email=t@example.org", *arguments]
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout.strip()


@pytest.fixture
def dataset(postgres, tmp_path, monkeypatch, capsys):
    url = make_database(postgres)
    for setting in declared():
        monkeypatch.delenv(setting, raising=False)
    monkeypatch.setenv("DATABASE_URL", url)
    monkeypatch.setenv("OUTPUT_DIR", str(tmp_path / "outputs"))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    (tmp_path / "gitconfig").write_text("[user]\nname = Publisher\nemail = publisher@example.org\n")
    return Set(url, tmp_path / "outputs", tmp_path / "set", capsys)


@pytest.fixture
def published(dataset):
    """Three organizations, one result without any, on two days."""
    dataset.record(result("Elm Street Pantry", "12 Elm St", 41.08))
    dataset.record(result("Far Pantry", "1 Oak St", 41.28))
    dataset.record(result("Grace Pantry", "7 Fir St", 41.1, day="MO", website="https://grace.example.org"))
    dataset.record("no data", scraper="a|<b>\nc", day="2025-08-10")
    dataset.publish()
    return dataset


def tree(directory):
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file() and ".git" not in path.parts
    }


@contextmanager
def database(dataset):
    with closing(sqlite3.connect(dataset.directory / "organizations.sqlite")) as connection:
        connection.row_factory = sqlite3.Row
        yield connection


def test_the_data_set_is_whole_and_needs_nothing_else(published, capsys):
    with database(published) as found:
        assert [] == found.execute("PRAGMA foreign_key_check").fetchall()
        assert "ok" == found.execute("PRAGMA integrity_check").fetchone()[0]
        (elm,) = found.execute(
            "SELECT organizations.* FROM organizations_fts JOIN organizations"
            " ON organizations.rowid = organizations_fts.rowid WHERE organizations_fts MATCH 'elm'"
        )
        assert 3 == found.execute("SELECT count(*) FROM services_fts WHERE services_fts MATCH 'pantry'").fetchone()[0]
        assert 3 == found.execute("SELECT count(*) FROM service_at_location").fetchone()[0]
        outcomes = dict(found.execute("SELECT outcome, count(*) FROM results GROUP BY outcome").fetchall())
    lines = [json.loads(line) for line in (published.directory / "organizations.ndjson").read_bytes().splitlines()]
    features = json.loads((published.directory / "locations.geojson").read_text())["features"]
    make_app()(["organizations", "show", elm["id"], "--json"], result_action="return_value")
    shown = json.loads(capsys.readouterr().out)
    (line,) = (line for line in lines if line["id"] == elm["id"])
    (feature,) = (one for one in features if one["properties"]["organization_id"] == elm["id"])
    for folder in (published.directory, *(published.directory / "daily").iterdir()):
        subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=folder, check=True, capture_output=True)

    assert {"organizations": 3, "text": 1} == outcomes
    assert plain(shown) == plain(line)
    assert [-81.52, 41.08] == feature["geometry"]["coordinates"]
    assert ["Food Pantry"] == feature["properties"]["services"]
    assert ["330-555-0100"] == feature["properties"]["phones"]
    assert [{"byday": "TU", "opens_at": "10:00", "closes_at": "12:00"}] == feature["properties"]["schedules"]
    assert "| organizations | 3 | 75.0 |" in (published.directory / "STATS.md").read_text()
    assert "| a&#124;&#60;b&#62; c | 1 | 0 | 0 | 2025-08-10 |" in (published.directory / "STATS.md").read_text()
    assert "from 2025-08-09 to 2025-08-10" in (published.directory / "README.md").read_text()
    assert tree(published.outputs / "daily").items() <= tree(published.directory / "daily").items()


def plain(organization):
    """Times as both print them: the command has microseconds and seconds that are zero."""
    text = json.dumps(organization, sort_keys=True)
    return re.sub(r'(\d\d:\d\d):00"', r'\1"', re.sub(r"(:\d\d)\.0+Z", r"\1Z", text))


def test_the_documented_queries_answer_on_the_published_file(published):
    nearby, words = re.findall(r"```sql\n(.*?)```", (DOCS / "publishing.md").read_text(), re.DOTALL)
    point = {"latitude": 41.08, "longitude": -81.52, "day": "2025-08-12"}
    with database(published) as found:
        rows = [tuple(row) for row in found.execute(nearby, point)]
        searched = found.execute(words.replace("produce OR vegetables", "pantry")).fetchall()

    assert [("Elm Street Pantry", "12 Elm St", "Ashford", "TU", "10:00", "12:00", 0.0)] == rows
    assert 3 == len(searched)


def test_again_without_new_events_nothing_changes_and_elsewhere_the_bytes_are_the_same(published, tmp_path):
    before = {path: path.stat().st_mtime_ns for path in published.directory.rglob("*")}
    again = published.publish()
    after = {path: path.stat().st_mtime_ns for path in published.directory.rglob("*")}
    published.publish(to=tmp_path / "other")

    assert (0, 0, None) == (again["written"], again["removed"], again["commit"])
    assert before.keys() == after.keys()
    assert {path: at for path, at in before.items() if path.is_file()} == {
        path: at for path, at in after.items() if path.is_file()
    }
    assert tree(published.directory) == tree(tmp_path / "other")


def test_what_newer_results_replace_vanishes(published):
    published.record(result("Near Pantry", "1 Ash St", 41.081), job_id="j2", scraper="other")
    published.record("no data", job_id="j4", day="2025-08-11")
    found = published.publish()
    lines = (published.directory / "organizations.ndjson").read_bytes().splitlines()
    names = {json.loads(line)["name"] for line in lines}

    assert {"Elm Street Pantry", "Near Pantry", "Grace Pantry"} == names
    assert ["2025-08-09/other"] == scrapers_of(published.directory, "j2")
    assert ["2025-08-10/a%7C%3Cb%3E%0Ac", "2025-08-11/list"] == scrapers_of(published.directory, "j4")
    assert (3, 5) == (found["days"], found["jobs"])


def scrapers_of(directory, job_id):
    """Where the files of a job are: days and scrapers."""
    found = (directory / "daily").glob(f"*/scrapers/*/{job_id}.json")
    return sorted(f"{path.parts[-4]}/{path.parts[-2]}" for path in found)


def test_a_repository_gets_one_commit_of_what_was_published_and_nothing_else(published):
    published.git("init", "--quiet")
    for name in ("staged", "changed", "untracked"):
        (published.directory / name).write_text("mine")
    published.git("add", "changed")
    published.git("commit", "--quiet", "-m", "mine")
    published.git("add", "staged")
    (published.directory / "changed").write_text("mine too")
    (published.directory / ".gitignore").write_text("*.ndjson\n")
    first, again = published.publish(), published.publish()
    published.record(result("New Pantry", "9 New St", 41.2), job_id="j4", day="2025-08-10")
    third = published.publish()

    assert 3 == int(published.git("rev-list", "--count", "HEAD"))
    assert None is again["commit"]
    assert third["commit"] == published.git("rev-parse", "HEAD") != first["commit"]
    assert "Publish results up to 2025-08-10T06:00:05.000000Z" == published.git("log", "-1", "--format=%s")
    assert {"staged", "changed", "untracked", ".gitignore"} == {
        line.split()[-1] for line in published.git("status", "--porcelain").splitlines()
    }
    committed = set(published.git("ls-tree", "-r", "--name-only", "HEAD").splitlines())
    assert {name for name in tree(published.directory) if not name.endswith(".ndjson")} - committed == {
        "staged",
        "untracked",
        ".gitignore",
    }
    assert {"list"} == {name.split("/")[3] for name in committed if name.startswith("daily/2025-08-10/scrapers/")}
    assert "A  staged" in published.git("status", "--porcelain").splitlines()


def test_a_commit_that_git_refused_is_made_by_the_next_run(published):
    published.git("init", "--quiet")
    published.publish()
    lock = published.directory / ".git/index.lock"
    lock.touch()
    published.record("nothing", job_id="j3", day="2025-08-12")
    published.record("nothing", job_id="j4", day="2025-08-12")
    with pytest.raises(GitFailed, match=r"index\.lock"):
        published.publish()
    lock.unlink()
    done = published.publish()

    assert 0 == done["written"]
    assert done["commit"] == published.git("rev-parse", "HEAD")
    assert "" == published.git("status", "--porcelain")
    assert not (published.directory / ".playhead-publish").exists()


def test_a_clone_whose_history_plants_a_plan_and_a_link_runs_and_removes_nothing(published, tmp_path):
    published.git("init", "--quiet")
    published.publish()
    staging = published.directory / ".playhead-publish"
    (staging / "new/link").mkdir(parents=True)
    (staging / "new/link/pre-commit").write_text(f"#!/bin/sh\ntouch {tmp_path}/it-ran\n")
    (staging / "new/link/pre-commit").chmod(0o755)
    (staging / "plan.json").write_text(
        json.dumps({"written": ["link/pre-commit"], "removed": ["../victim", str(tmp_path / "victim")]})
    )
    (published.directory / "link").symlink_to(".git/hooks")
    published.git("add", "--force", ".playhead-publish", "link")
    published.git("commit", "--quiet", "--message", "planted")
    (tmp_path / "victim").write_text("precious")
    git(tmp_path, "clone", "--quiet", str(published.directory), "clone")
    published.record("nothing", day="2025-08-12")
    done = published.publish(to=tmp_path / "clone")

    assert done["commit"] == git(tmp_path / "clone", "rev-parse", "HEAD")
    assert "precious" == (tmp_path / "victim").read_text()
    assert not (tmp_path / "clone/.git/hooks/pre-commit").exists()
    assert not (tmp_path / "it-ran").exists()
    assert not (tmp_path / "clone/.playhead-publish").exists()


def test_push_goes_to_the_remote_also_when_there_is_nothing_new(published, tmp_path):
    published.git("init", "--quiet", "--initial-branch", "data")
    with pytest.raises(InvalidSetting, match="no remote") as caught:
        published.publish("--push")
    subprocess.run(["git", "init", "--quiet", "--bare", tmp_path / "remote"], check=True)
    committed = published.publish()["commit"]
    published.git("remote", "add", "origin", str(tmp_path / "remote"))
    pushed = published.publish("--push")
    published.record("nothing", day="2025-08-12")
    shutil.move(tmp_path / "remote", tmp_path / "away")
    with pytest.raises(GitFailed, match="push"):
        published.publish("--push")
    shutil.move(tmp_path / "away", tmp_path / "remote")
    later = published.publish("--push")

    assert 2 == exit_code(caught.value)
    assert (None, True) == (pushed["commit"], pushed["pushed"])
    assert committed == published.git("rev-parse", "HEAD~1")
    assert (None, True) == (later["commit"], later["pushed"])
    assert published.git("rev-parse", "HEAD") == git(tmp_path / "remote", "rev-parse", "data")


def test_a_merge_under_way_is_not_ended(published):
    published.git("init", "--quiet")
    published.publish()
    (published.directory / ".git/MERGE_HEAD").write_text(published.git("rev-parse", "HEAD") + "\n")
    before = tree(published.directory)
    published.record("nothing", day="2025-08-12")
    with pytest.raises(GitFailed, match="a merge is under way"):
        published.publish()

    assert before == tree(published.directory)


def test_a_directory_within_a_repository_is_published_and_not_committed(dataset, tmp_path, capsys):
    git(tmp_path, "init", "--quiet")
    dataset.record(result("Elm Street Pantry", "12 Elm St", 41.08))
    make_app()(["publish", "--to", str(dataset.directory)], result_action="return_value")
    told = capsys.readouterr()

    assert "1 organizations at 1 locations, from 1 of 1 results (100.0 %)" in told.out
    assert "committed" not in told.out
    assert "is below the top of" in told.err
    assert "" == git(tmp_path, "diff", "--cached", "--name-only")


@pytest.mark.parametrize("lost", ["tables", "files", "both"])
def test_a_reset_database_or_a_lost_tree_does_not_empty_the_data_set(published, lost):
    before = tree(published.directory)
    if lost != "files":
        with psycopg.connect(published.url) as connection:
            connection.execute(
                "TRUNCATE organizations, locations, services, phones, schedules, sources, organization_results"
            )
    if lost != "tables":
        shutil.rmtree(published.outputs)
    with pytest.raises(NothingThere, match="--allow-empty"):
        published.publish()
    refused = tree(published.directory)
    emptied = published.publish("--allow-empty")

    assert before == refused
    assert (emptied["organizations"] == 0, emptied["days"] == 0) == (lost != "files", lost != "tables")


def test_nothing_yet_is_said_and_leaves_no_directory(dataset):
    with pytest.raises(NothingThere, match="playhead status"):
        dataset.publish()

    assert not dataset.directory.exists()


def test_places_that_cannot_be_published_to_are_named(published, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InvalidSetting, match="OUTPUT_DIR"):
        published.publish(to=published.outputs / "set")
    with pytest.raises(InvalidSetting, match="is a file"):
        published.publish(to=tmp_path / "file")
    with pytest.raises(InvalidSetting, match="looks like a URL"):
        published.publish(to="s3://bucket/set")
    for place in ("eventlog", "archives", "recordings/set"):
        with pytest.raises(InvalidSetting, match="_DIR, which"):
            published.publish("--data-dir", str(tmp_path / "own"), to=tmp_path / "own" / place)
    with pytest.raises(InvalidSetting, match="is the data directory"):
        published.publish("--data-dir", str(tmp_path / "own"), to=tmp_path / "own")
    with pytest.raises(InvalidSetting, match="git init"):
        published.publish("--push")


def test_percentages_are_the_same_wherever_they_are_printed(dataset, capsys):
    for _ in range(14):
        dataset.record(result("Elm Street Pantry", "12 Elm St", 41.08))
    for _ in range(3):
        dataset.record("no data")
    dataset.publish()
    published = (dataset.directory / "STATS.md").read_text()
    capsys.readouterr()
    make_app()(["organizations", "stat"], result_action="return_value", exit_on_error=False)

    assert "| organizations | 14 | 82.4 |" in published
    assert "82.4" in capsys.readouterr().out


def test_a_database_that_is_not_upgraded_says_so(dataset):
    with psycopg.connect(dataset.url) as connection:
        connection.execute("DELETE FROM playhead_migrations WHERE name LIKE '0003%'")
    with pytest.raises(DatabaseNotUpgraded, match="db upgrade"):
        dataset.publish()
