from pathlib import Path

import pytest

from tests.acceptance.stack import Stack
from tests.support.environments import ROOT, Environment, build_wheel
from tests.support.up import Up


@pytest.fixture
def stack(tmp_path, wait_until):
    stack = Stack(tmp_path / "data", wait_until)
    stack.start()
    yield stack
    if stack.process.poll() is None:
        assert stack.stop() == 0


@pytest.fixture
def start_up(wait_until):
    """Start `playhead up` in a directory; it ends with the test, whatever becomes of that."""
    started: list[Up] = []

    def start(directory: Path, **settings: str) -> Up:
        started.append(Up(directory, wait_until, **settings))
        return started[-1]

    yield start
    for up in started:
        up.process.kill()
        up.process.wait()


@pytest.fixture(scope="session")
def wheels(tmp_path_factory) -> list[Path]:
    """Playhead's, and that of `examples/invoices`."""
    into = tmp_path_factory.mktemp("wheels")
    return [build_wheel(ROOT, into), build_wheel(ROOT / "examples" / "invoices", into)]


@pytest.fixture(scope="session")
def environment(wheels, tmp_path_factory) -> Environment:
    """An environment in which both are installed."""
    environment = Environment(tmp_path_factory.mktemp("environment"))
    environment.added = [environment.install(wheel) for wheel in wheels]
    return environment
