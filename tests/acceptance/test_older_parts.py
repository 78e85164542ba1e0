"""Each combination of parts of an installation that are set back: it is whole again, or says what is missing."""

import io
import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, redirect_stdout
from itertools import combinations
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest
from redis import Redis

from playhead.commands.doctor import doctor
from playhead.commands.status import status as show_status
from playhead.commands.verify import verify
from playhead.consumers.reading.group import Report
from playhead.embedded.servers import embedded_servers
from playhead.eventlog.reader import read
from playhead.projections.migrations import upgrade
from playhead.settings.servers import Servers
from playhead.settings.settings import load
from playhead.streams.appending.producer import Producer
from playhead.streams.events import new_event
from playhead.streams.partitions import Partition
from playhead.streams.positions import Position
from playhead.streams.redis.stream_info import last_position
from playhead.testing.consumers import ConsumerThread, service_of

PARTS = {"log": "eventlog", "outputs": "outputs", "postgres": "postgres", "redis": "valkey"}
OLDER = [each for count in range(1, len(PARTS)) for each in combinations(PARTS, count)]
CONSUMERS = ("log", "json-files", "jobs")
JOBS = Partition("jobs", 0)
FIRST, SECOND = range(1, 6), range(6, 10)
EVERY = {str(number) for number in (*FIRST, *SECOND)}


class Installation:
    """Log, JSON files and table in one data directory, with its own servers."""

    def __init__(self, directory: Path, wait_until) -> None:
        self.directory, self.wait_until = directory, wait_until
        self._servers: Servers | None = None
        self._started = 0.0

    @property
    def servers(self) -> Servers:
        assert self._servers is not None
        return self._servers

    @contextmanager
    def running(self) -> Generator[None]:
        with embedded_servers(self.directory) as running:
            self._started = time.time()
            self._servers = Servers(running.redis_url, running.database_url, self.directory)
            upgrade(running.database_url)
            settings = load(self.directory)
            consumers = [
                ConsumerThread(name, running.redis_url, service_of(name, settings, self.servers)) for name in CONSUMERS
            ]
            for consumer in consumers:
                consumer.start()
            try:
                yield
            finally:
                for consumer in consumers:
                    consumer.stop()
        assert [None] * len(consumers) == [consumer.failure for consumer in consumers]

    def append(self, *numbers: int) -> None:
        with Producer(self.servers.redis_url) as producer:
            producer.append_events([job(number) for number in numbers])

    def caught_up(self) -> None:
        with Redis.from_url(self.servers.redis_url) as redis:
            self.wait_until(lambda: all(self._has_settled(redis, name) for name in CONSUMERS))

    def _has_settled(self, redis: Redis, name: str) -> bool:
        raw = redis.hget(f"{JOBS.key}:consumers", name)
        report = None if raw is None else msgspec.json.decode(raw, type=Report)
        return (
            report is not None
            and (report.state, report.at > self._started) == ("running", True)
            and Position.parse(report.settled) >= last_position(redis, JOBS)
        )

    def trim(self) -> None:
        """What every consumer has is trimmed, but for the last entry."""
        with Redis.from_url(self.servers.redis_url) as redis:
            redis.xtrim(JOBS.key, maxlen=1, approximate=False)

    def logged(self) -> set[str]:
        found = [recorded.event.id for _, recorded in read(self.directory / "eventlog")]
        assert len(found) == len(set(found))
        return set(found)

    def rows(self) -> set[str]:
        with psycopg.connect(self.servers.database_url) as connection:
            return {event_id for (event_id,) in connection.execute("SELECT event_id FROM jobs")}

    def files(self) -> set[str]:
        paths = (self.directory / "outputs").glob("daily/*/processed/*.json")
        return {json.loads(path.read_bytes())["event_id"] for path in paths}

    def playhead(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, "-m", "playhead", *arguments, "--data-dir", str(self.directory)]
        return subprocess.run(command, capture_output=True, check=False, timeout=120)

    def said(self) -> tuple[int, int, int]:
        """How many events are missing in the log, as status, doctor and verify say."""
        status = self._printed(show_status)["unlogged"]
        verified = self._printed(verify)["faults"]
        return (
            sum(one["count"] for one in status),
            sum(number_in(check["found"]) for check in self.failed_checks()),
            sum(
                number_in(one["problem"]) for one in verified if (one["kind"], one["projection"]) == ("unlogged", "log")
            ),
        )

    def failed_checks(self) -> list[dict[str, str]]:
        checks = self._printed(doctor)["checks"]
        return [check for check in checks if check["name"].startswith("event log") and check["result"] == "fail"]

    def _printed(self, command: Callable[..., int]) -> dict[str, Any]:
        """What a command prints, run in this process: one of its own takes longer than all the rest."""
        printed = io.StringIO()
        with redirect_stdout(printed):
            code = command(data_dir=self.directory, json=True)
        found = json.loads(printed.getvalue())
        assert code != 0 or not found.get("unlogged")
        return found

    def follow_advice(self) -> None:
        for check in self.failed_checks():
            if "playhead replay --use-default-output-dir" in check["advice"]:
                done = self.playhead("replay", "--use-default-output-dir", "--to", "json-files", "--to", "jobs")
                assert done.returncode == 0, done.stderr.decode()
                self.caught_up()


def job(number: int):
    data = {"job_id": str(number), "job": {"created_at": "2025-08-09T06:36:58Z"}, "result": "ok"}
    return new_event("job.completed", subject=f"job/{number}", data=data, id=str(number))


def number_in(text: str) -> int:
    found = re.match(r"\d+", text)
    assert found is not None, text
    return int(found[0])


@pytest.fixture(scope="module")
def times(tmp_path_factory, wait_until):
    """The data directory at two times, stopped: five events, and four more, which are trimmed but for the last."""
    root = tmp_path_factory.mktemp("times")
    installation = Installation(root / "data", wait_until)
    with installation.running():
        installation.append(*FIRST)
        installation.caught_up()
    shutil.copytree(root / "data", root / "first", symlinks=True)
    with installation.running():
        installation.append(*SECOND)
        installation.caught_up()
        installation.trim()
        assert EVERY == installation.logged() == installation.rows() == installation.files()
    return root / "first", root / "data"


@pytest.fixture
def set_back(times, tmp_path, wait_until):
    """Make the later time, with some parts of the earlier one."""

    def make(*parts: str) -> Installation:
        first, second = times
        shutil.copytree(second, tmp_path / "data", symlinks=True)
        for part in parts:
            shutil.rmtree(tmp_path / "data" / PARTS[part])
            shutil.copytree(first / PARTS[part], tmp_path / "data" / PARTS[part], symlinks=True)
        return Installation(tmp_path / "data", wait_until)

    return make


@pytest.fixture(params=OLDER, ids="+".join)
def installation(request, set_back):
    installation = set_back(*request.param)
    with installation.running():
        installation.caught_up()
        yield installation


def test_it_is_whole_again_or_says_how_many_events_the_log_lacks(installation):
    lacking = len(EVERY - installation.logged())
    assert lacking == sum(number_in(check["found"]) for check in installation.failed_checks())

    installation.follow_advice()
    installation.wait_until(lambda: installation.logged() <= installation.rows() & installation.files())
    missing = len(EVERY - installation.logged())

    assert (missing, missing, missing) == installation.said()
    if not missing:
        assert EVERY == installation.rows() == installation.files()


def test_what_is_missing_is_counted_once_and_can_be_accepted(set_back):
    installation = set_back("log", "outputs")
    for _ in range(2):
        with installation.running():
            installation.caught_up()
    with installation.running():
        installation.caught_up()
        lacking = len(EVERY - installation.logged())
        assert (lacking, lacking, lacking) == installation.said()
        replayed = installation.playhead("replay", "--to", "jobs")
        allowed = installation.playhead("replay", "--to", "jobs", "--allow-gaps", "--json")
        installation.append(10)
        installation.caught_up()
        later = installation.said()

        accepted = installation.playhead("log", "accept-gaps", "--json")

        assert lacking > 0
        assert (4, b"") == (replayed.returncode, replayed.stdout)
        assert (0, lacking) == (allowed.returncode, json.loads(allowed.stdout)["missing"])
        assert (lacking, lacking, lacking) == later
        assert lacking == json.loads(accepted.stdout)["events"]
        assert (0, 0, 0) == installation.said()
        assert 0 == installation.playhead("log", "cat").returncode


def test_a_newer_copy_of_the_log_ends_what_was_missing(set_back, times):
    installation = set_back("log", "redis")
    log = installation.directory / PARTS["log"]
    with installation.running():
        installation.caught_up()
        assert (len(SECOND), len(SECOND), len(SECOND)) == installation.said()
    shutil.rmtree(log)
    shutil.copytree(times[1] / PARTS["log"], log)

    with installation.running():
        installation.caught_up()

        assert (0, 0, 0) == installation.said()
        assert EVERY == installation.logged() == installation.rows() == installation.files()
