import random
import signal
import time
import zlib
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, settings

from tests.support.servers import report_header

pytest_plugins = ["playhead.testing.fixtures"]


@pytest.fixture(scope="session")
def wait_until(pytestconfig):
    """Wait for a condition; the deadline, a third of the time for a test, is only there to end a broken one."""
    timeout = pytestconfig.getoption("timeout") or pytestconfig.getini("timeout")

    def wait(condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + float(timeout) / 3
        while not condition():
            assert time.monotonic() < deadline, "the condition did not come true"
            time.sleep(0.02)

    return wait


@pytest.fixture
def seed(request) -> int:
    """What a random test starts from: the same one each time, a new one with `--full-faults`, or that of `--seed`."""
    option = request.config.getoption
    if option("--seed") is not None:
        return option("--seed")
    if option("--full-faults"):
        return random.SystemRandom().randrange(1 << 32)
    return zlib.crc32(request.node.nodeid.encode())


def pytest_configure(config: pytest.Config) -> None:
    # How fast input is made says what else the machine does.
    busy = settings(suppress_health_check=[HealthCheck.too_slow])
    settings.register_profile("repeatable", busy, derandomize=not config.getoption("--full-faults"))
    settings.load_profile("repeatable")
    # A shell has what it starts in the background ignore Ctrl-C, and whatever the tests start would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full-faults", action="store_true", help="cause faults on every server, and report them")
    parser.addoption("--fault-scale", type=float, default=1.0, help="the part of the full counts to run")
    parser.addoption("--seed", type=int, help="what random tests start from, as a report of theirs printed it")


def pytest_report_header() -> str:
    return report_header()
