import pytest

from tests.acceptance.stack import Stack


@pytest.fixture
def stack(tmp_path, wait_until):
    stack = Stack(tmp_path / "data", wait_until)
    stack.start()
    yield stack
    if stack.process.poll() is None:
        assert stack.stop() == 0
