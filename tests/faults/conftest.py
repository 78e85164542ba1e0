"""Faults on real servers. `--full-faults` runs the full counts on every server and writes docs/reliability.md."""

import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from playhead.streams.names import presence_key
from playhead.streams.partitions import Partition
from tests.faults.audits import audit
from tests.faults.decoders import DECODERS
from tests.faults.effects import KINDS, note_effects
from tests.faults.nursery import Nursery, Spec
from tests.faults.postgres import MortalPostgres
from tests.faults.reports import Report, render
from tests.integration.servers import SERVERS, make_server, plain_client
from tests.integration.stage import Stage

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
FULLY = ("valkey", "redis-7.0")
_REPORT = "fault"
"""The property of a test, under which a report travels from the process that ran it."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "fault_server" in metafunc.fixturenames:
        names = SERVERS if metafunc.config.getoption("--full-faults") else ["valkey"]
        metafunc.parametrize("fault_server", names, indirect=True, scope="session")
    tables = [sink for sink, kind in KINDS.items() if kind.table]
    for fixture, names in (("any_sink", [*KINDS]), ("table_sink", tables), ("decoder", [*DECODERS])):
        if fixture in metafunc.fixturenames:
            metafunc.parametrize(fixture, names if metafunc.config.getoption("--full-faults") else names[:1])


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--full-faults") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Page(config))


class Page:
    """Gathers the reports of all processes, and writes them down."""

    def __init__(self, config: pytest.Config) -> None:
        self._reports: list[Report] = []
        self._whole = config.args == ["tests/faults"] and not config.getoption("keyword")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call":
            self._reports += [
                msgspec.json.decode(one, type=Report) for name, one in report.user_properties if name == _REPORT
            ]

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        finished = exitstatus != pytest.ExitCode.INTERRUPTED
        if self._reports:
            PAGE.write_text(render(self._reports, "" if self._whole and finished else PAGE.read_text()))


@pytest.fixture
def full(request) -> bool:
    return request.config.getoption("--full-faults")


@pytest.fixture
def count(request) -> Callable[[int, int], int]:
    """How often to do something: the short count, or the full one, of which `--fault-scale` takes a part.

    Servers beside the two that are promised get a tenth.
    """
    option = request.config.getoption
    callspec = getattr(request.node, "callspec", None)
    beside = callspec is not None and callspec.params.get("fault_server", FULLY[0]) not in FULLY
    part = option("--fault-scale") * (0.1 if beside else 1)
    return lambda short, full: max(short, int(full * part)) if option("--full-faults") else short


@pytest.fixture(scope="session")
def fault_server(request, tmp_path_factory):
    server = make_server(request.param, tmp_path_factory.mktemp("fault-redis"))
    server.start()
    server.name = request.param
    yield server
    server.stop()


@pytest.fixture(scope="session")
def postgres(tmp_path_factory):
    server = MortalPostgres(tmp_path_factory.mktemp("fault-postgres"))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def nursery(tmp_path_factory):
    nursery = Nursery(tmp_path_factory.mktemp("nursery") / "log")
    yield nursery
    nursery.close()


@pytest.fixture
def report(request):
    """Keep a report, print it, and fail where the promise was broken or the control was not."""

    def keep(one: Report) -> None:
        sys.stdout.write(
            f"{one.fault}, {one.sink}: {one.runs} runs, {one.harm}; seed {one.seed}\n"
            f"  {one.control}: {one.control_harm}\n"
        )
        request.node.user_properties.append((_REPORT, msgspec.json.encode(one).decode()))
        assert not one.harm, one
        assert one.control_harm, "the control must fail"

    return keep


@pytest.fixture
def seed() -> int:
    return random.SystemRandom().randrange(1 << 32)


class Theatre:
    """A stage whose consumers are processes that can be killed, frozen and started again."""

    def __init__(self, server, postgres, root, wait_until, nursery) -> None:
        self.server, self.name = server, server.name
        self.postgres, self._root, self.wait_until, self.nursery = postgres, root, wait_until, nursery
        self._number = 0
        self._alive: set[int] = set()
        self.stage: Stage

    def begin(self, partitions: int = 1) -> Stage:
        """Empty Redis, a new database and new directories."""
        self.end()
        with plain_client(self.server.url) as client:
            client.flushall()
        self._number += 1
        directory = self._root / str(self._number)
        directory.mkdir()
        self.stage = Stage(self.server, self.postgres.url, directory, self.wait_until, partitions)
        note_effects(self.stage.database)
        return self.stage

    def spawn(self, sink: str, **spec: object) -> int:
        stage = self.stage
        pid = self.nursery.spawn(
            Spec(
                sink=sink,
                directory=str(stage.directory),
                partitions=stage.partitions,
                **{"redis": self.server.url, "database": stage.database, **spec},
            )
        )
        self._alive.add(pid)
        return pid

    def ended(self, pid: int) -> int | None:
        """The exit code of a process, None while it runs."""
        code = self.nursery.poll(pid)
        if code is not None:
            self._alive.discard(pid)
        return code

    def killed(self, pid: int) -> None:
        """Wait until a process died at its failpoint."""
        assert self.nursery.wait(pid) == -signal.SIGKILL
        self._alive.discard(pid)

    def expire(self, sink: str) -> None:
        """Let the lease of a dead process run out at once, which tests else wait for again and again."""
        for number in range(self.stage.partitions):
            self.stage.redis.delete(presence_key(Partition(KINDS[sink].stream, number).key, sink))

    def forget(self, pid: int) -> None:
        """Take note that a process has ended."""
        self._alive.discard(pid)

    def send(self, pid: int, sign: int) -> None:
        os.kill(pid, sign)

    def stop(self, *pids: int) -> None:
        """Stop processes as SIGTERM does; one that has hardly begun may not know yet what to do with it."""
        for pid in pids:
            assert self.finish(pid, signal.SIGTERM) in (0, -signal.SIGTERM)

    def finish(self, pid: int, sign: int) -> int:
        """Send a signal and wait for the end it brings."""
        self.send(pid, sign)
        code = self.nursery.wait(pid)
        assert code is not None
        self._alive.discard(pid)
        return code

    def drain(self, sink: str, **spec: object) -> None:
        """Let one process finish the work, and stop it as SIGTERM does."""
        pid = self.spawn(sink, **spec)
        self.wait_until(lambda: self.is_held(sink))
        self.caught_up(sink)
        assert self.finish(pid, signal.SIGTERM) == 0

    def is_held(self, sink: str) -> bool:
        """Whether a process holds the lease of the first partition."""
        return bool(self.stage.redis.exists(presence_key(Partition(KINDS[sink].stream, 0).key, sink)))

    def caught_up(self, sink: str) -> None:
        """Wait until the sink has all of its stream."""
        self.stage.caught_up(sink, stream=KINDS[sink].stream)

    def audit(self, sink, events, *, naive=False):
        return audit(self.stage, sink, events, naive=naive)

    def end_processes(self) -> None:
        """kill -9 of whatever runs still."""
        for pid in list(self._alive):
            self.finish(pid, signal.SIGKILL)

    def end(self) -> None:
        self.end_processes()
        if hasattr(self, "stage"):
            self.stage.close()


@pytest.fixture
def theatre(fault_server, postgres, tmp_path, wait_until, nursery):
    theatre = Theatre(fault_server, postgres, tmp_path, wait_until, nursery)
    yield theatre
    theatre.end()


class Stopwatch:
    """The longest of several times, in seconds."""

    def __init__(self) -> None:
        self.longest = 0.0
        self._since = 0.0

    def start(self) -> None:
        self._since = time.monotonic()

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self._since

    def stop(self) -> None:
        self.longest = max(self.longest, time.monotonic() - self._since)
