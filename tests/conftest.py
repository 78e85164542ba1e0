import signal
import time
from collections.abc import Callable

import pytest

from tests.support.servers import report_header

pytest_plugins = ["playhead.testing.fixtures"]


@pytest.fixture(scope="session")
def wait_until():
    """Wait for a condition; the deadline is only there to end a broken test."""

    def wait(condition: Callable[[], bool], seconds: float = 60.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "the condition did not come true"
            time.sleep(0.02)

    return wait


def pytest_configure() -> None:
    # A shell has what it starts in the background ignore Ctrl-C, and whatever the tests start would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full-faults", action="store_true", help="cause faults on every server, and report them")
    parser.addoption("--fault-scale", type=float, default=1.0, help="the part of the full counts to run")


def pytest_report_header() -> str:
    return report_header()
