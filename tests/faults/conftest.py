"""Faults on real servers. `--full-faults` runs the full counts on every server and writes docs/reliability.md."""

import sys
from collections.abc import Callable

import msgspec
import pytest

from tests.faults.decoders import DECODERS
from tests.faults.effects import KINDS
from tests.faults.harness import Harness
from tests.faults.postgres import CrashablePostgres
from tests.faults.reports import PAGE, RUNS, Report, render, render_runs
from tests.faults.spec import CONSUMERS
from tests.support.fork_server import ForkServer
from tests.support.servers import SERVERS, make_server

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
            runs = render_runs(self._reports, "" if self._whole and finished else RUNS.read_text())
            RUNS.write_text(runs)
            PAGE.write_text(render(runs))


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
    server = CrashablePostgres(tmp_path_factory.mktemp("fault-postgres"))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def fork_server(tmp_path_factory):
    fork_server = ForkServer(CONSUMERS, tmp_path_factory.mktemp("fork_server") / "log")
    yield fork_server
    fork_server.close()


@pytest.fixture
def report(request):
    """Keep a report, print it, and fail if the promise was broken or the control was not."""

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
def harness(fault_server, postgres, tmp_path, wait_until, fork_server):
    harness = Harness(fault_server, postgres, tmp_path, wait_until, fork_server)
    yield harness
    harness.end()
