"""An installation in one data directory, with its own servers and consumers, and what its parts and commands say."""

import io
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import msgspec
import psycopg
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
from playhead.streams.domains.catalogue import LOG
from playhead.streams.domains.discovery import installed
from playhead.streams.events import Event, new_event
from playhead.streams.partitions import Partition
from playhead.streams.positions import Position
from playhead.streams.redis.stream_info import last_position
from playhead.testing.consumers import ConsumerThread, service_of
from tests.support.pipeline import running


class Installation:
    """Streams of one partition, and the consumers of those that are named."""

    def __init__(
        self, directory: Path, wait_until, consumers: Sequence[str] = (LOG, "json-files", "jobs"), streams=("jobs",)
    ) -> None:
        self.directory, self.wait_until, self.streams = directory, wait_until, streams
        self._consumers = consumers
        self._servers: Servers | None = None
        self._started = 0.0

    @property
    def servers(self) -> Servers:
        assert self._servers is not None
        return self._servers

    @contextmanager
    def running(self) -> Generator[None]:
        with embedded_servers(self.directory) as servers:
            self._started = time.time()
            self._servers = Servers(servers.redis_url, servers.database_url, self.directory)
            upgrade(servers.database_url)
            settings = load(self.directory)
            consumers = [
                ConsumerThread(name, servers.redis_url, service_of(name, settings, self.servers))
                for name in self._consumers
            ]
            with running(*consumers):
                yield

    def append(self, *numbers: int) -> None:
        with Producer(self.servers.redis_url) as producer:
            producer.append_events([job(number) for number in numbers])

    def append_events(self, events: Sequence[Event]) -> None:
        with Producer(self.servers.redis_url) as producer:
            producer.append_events(events)

    def caught_up(self) -> None:
        with Redis.from_url(self.servers.redis_url) as redis:
            served = [
                (name, Partition(stream, 0))
                for name in self._consumers
                for stream in self.streams
                if name == LOG or stream in installed().reads[name]
            ]
            self.wait_until(lambda: all(self._has_settled(redis, *one) for one in served))

    def _has_settled(self, redis: Redis, name: str, partition: Partition) -> bool:
        raw = redis.hget(f"{partition.key}:consumers", name)
        report = None if raw is None else msgspec.json.decode(raw, type=Report)
        return (
            report is not None
            and (report.state, report.at > self._started) == ("running", True)
            and Position.parse(report.settled) >= last_position(redis, partition)
        )

    def trim(self) -> None:
        """What every consumer has is trimmed, but for the last entry."""
        with Redis.from_url(self.servers.redis_url) as redis:
            for stream in self.streams:
                redis.xtrim(Partition(stream, 0).key, maxlen=1, approximate=False)

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
        verified = self.faults()
        return (
            sum(one["count"] for one in status),
            sum(number_in(check["found"]) for check in self.failed_checks()),
            sum(
                number_in(one["problem"]) for one in verified if (one["kind"], one["projection"]) == ("unlogged", "log")
            ),
        )

    def faults(self) -> list[dict[str, Any]]:
        return self._printed(verify)["faults"]

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
