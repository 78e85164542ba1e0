"""Clocks that jump by days, under Redis and under the consumers, while events come and go."""

import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from redis.exceptions import ResponseError

from playhead.embedded.valkey import server_program
from tests.faults.harness import Harness
from tests.faults.reports import Harm, Report
from tests.faults.spec import CONSUMERS
from tests.support.events import job
from tests.support.fork_server import ForkServer
from tests.support.pipeline import JOBS, fields
from tests.support.servers import Program, plain_client, programs

SINKS = ("log", "json-files", "jobs")
DAY = 24 * 60 * 60
PER_JUMP = 20

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("cc") is None, reason="a clock is set by a C library, on Linux"
)


class Clock:
    """The wall clock of processes that run with its environment; Python's own clock is left alone."""

    def __init__(self, library: Path, offset: Path) -> None:
        self._offset = offset
        self.jump(0)
        self.environment = {"LD_PRELOAD": str(library), "CLOCK_OFFSET": str(offset)}

    def jump(self, seconds: int) -> None:
        """Be so far from the true time, from now on."""
        with self._offset.open("r+b" if self._offset.exists() else "wb", buffering=0) as file:
            file.write(seconds.to_bytes(8, sys.byteorder, signed=True))


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    target = tmp_path_factory.mktemp("clock") / "clock.so"
    source = Path(__file__).with_name("clock.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", target, source], check=True)
    return target


@pytest.fixture
def clocks(library, tmp_path):
    """Of the server and of the consumers."""
    return [Clock(library, tmp_path / name) for name in ("server-clock", "consumer-clock")]


@pytest.fixture
def jumping_harness(fault_server, postgres, tmp_path, wait_until, clocks):
    of_server, of_consumers = clocks
    command = [str(server_program())] if fault_server.name == "valkey" else programs()[fault_server.name]
    server = Program(
        ["/usr/bin/env", *(f"{name}={value}" for name, value in of_server.environment.items()), *command],
        tmp_path / "server",
    )
    server.name = fault_server.name
    server.start()
    fork_server = ForkServer(CONSUMERS, tmp_path / "fork_server.log", of_consumers.environment)
    harness = Harness(server, postgres, tmp_path, wait_until, fork_server)
    yield harness
    harness.end()
    fork_server.close()
    server.stop()


def test_clocks_jump(jumping_harness, clocks, report, count, seed):
    runs = count(6, 60)
    harm = jump(jumping_harness, clocks, random.Random(seed), runs)
    control_harm = use_own_clock(jumping_harness)

    report(
        Report(
            "the clock of Redis, or of the consumers, jumps back a day or ahead 30",
            ", ".join(SINKS),
            "order is by position and number, never by a clock",
            runs,
            harm,
            "entry ids from the producer's clock",
            control_harm,
            None,
            seed,
            jumping_harness.name,
        )
    )


def jump(harness, clocks, chance, runs) -> Harm:
    pipeline = harness.begin()
    pids = [harness.spawn(sink, segment_bytes=8_000) for sink in SINKS]
    events = []
    for run in range(runs):
        days = chance.choice((-1, 30, 0))
        clock = clocks[run % 2]
        for part in range(2):
            more = [job(len(events) + n, f"job/{chance.randrange(50)}") for n in range(PER_JUMP)]
            pipeline.append(*more)
            events += more
            if part == 0:
                clock.jump(days * DAY)
                if clock is clocks[0]:  # it looks a few times a second
                    pipeline.wait_until(
                        lambda days=days: abs(pipeline.redis.time()[0] - time.time() - days * DAY) < DAY / 2
                    )
        for sink in SINKS:
            harness.caught_up(sink)
    for clock in clocks:
        clock.jump(0)
    for pid in pids:
        assert harness.finish(pid, signal.SIGTERM) == 0
    return sum((harness.audit(sink, events) for sink in SINKS), Harm())


def use_own_clock(harness) -> Harm:
    """What a producer loses that makes ids of its own time, and whose clock goes back."""
    pipeline = harness.begin()
    refused = 0
    with plain_client(harness.server.url) as client:
        for number, days in enumerate((0, 30, 0, -1)):
            try:
                client.xadd(JOBS.key, fields(job(number)), id=f"{int((time.time() + days * DAY) * 1000)}-0")
            except ResponseError:
                refused += 1
    assert pipeline.redis.xlen(JOBS.key) == 4 - refused
    return Harm(lost=refused)
