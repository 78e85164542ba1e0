"""Workers whose function is not async: the process answers and stops whatever their threads do."""

import os
import re
import signal
import subprocess
import sys
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest

from playhead.streams.domains.discovery import chosen
from playhead.streams.entries import RawEntry, decode
from playhead.streams.partitions import Partition
from tests.integration.blocking_program import CONCURRENCY, QUICK, WorkAsked, blocking

BLOCKING = Partition("blocking", 0)


@pytest.fixture
def redis_server(valkey):
    return valkey


class Process:
    def __init__(self, url: str, directory: Path, number: int) -> None:
        self._log = directory / f"{number}.log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.integration.blocking_program", url],
                stdout=log,
                stderr=log,
                cwd=Path(__file__).parents[2],
                env={**os.environ, "BLOCKING_DIR": str(directory)},
            )

    def answer(self, path: str) -> str:
        [url] = re.findall(r"http://[0-9.:]+", self._log.read_text())
        with urllib.request.urlopen(f"{url}{path}", timeout=60) as answer:
            return answer.read().decode()


@contextmanager
def started(url: str, directory: Path, number: int):
    running = Process(url, directory, number)
    try:
        yield running
    finally:
        running.process.kill()
        running.process.wait()


def done(redis) -> list[tuple[str, bytes]]:
    entries = [RawEntry(entry_id, [*sum(fields.items(), ())]) for entry_id, fields in redis.xrange(BLOCKING.key)]
    events = [decode(entry).event for entry in entries]
    return sorted((event.subject, event.data) for event in events if event.type == "work.done")


def dues(redis) -> list[float]:
    return [score for _, score in redis.zrange(f"{BLOCKING.key}:due:blocked", 0, -1, withscores=True)]


def now(redis) -> int:
    seconds, microseconds = redis.time()
    return seconds * 1000 + microseconds // 1000


def test_a_process_whose_threads_are_all_blocked_answers_appends_and_stops(
    redis_server, redis, producer, wait_until, tmp_path
):
    with chosen([blocking]):
        for number in [*range(CONCURRENCY - 1), QUICK, 77, 78]:
            producer.append(WorkAsked(number))
    begun = lambda: len(list(tmp_path.glob("begun-*")))  # noqa: E731
    with started(redis_server.url, tmp_path, 1) as first:
        wait_until(lambda: begun() == CONCURRENCY + 1 and len(done(redis)) == 1)
        ready = first.answer("/readyz")

        before = now(redis)
        first.process.send_signal(signal.SIGTERM)
        code = first.process.wait(60)

    assert ("ok\n", 0) == (ready, code)
    assert CONCURRENCY + 1 == begun()
    assert CONCURRENCY == len(dues(redis))
    assert min(dues(redis)) >= before + 3000

    (tmp_path / "go").touch()
    with started(redis_server.url, tmp_path, 2):
        wait_until(lambda: len(done(redis)) == CONCURRENCY + 2)

    assert {b'"attempt":1'} == {data.partition(b",")[2].rstrip(b"}") for _, data in done(redis)}
