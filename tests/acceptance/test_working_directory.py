"""Commands in a directory that holds modules of the user's own, under the names of ours and of what we import."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from playhead.settings.settings import declared
from playhead.streams.domains.discovery import installed

PLAYHEAD = [sys.executable, "-m", "playhead"]
SCRIPT = [str(Path(sys.executable).with_name("playhead"))]
CLEAN = {name: value for name, value in os.environ.items() if name not in {*declared(), "PYTHONPATH", "PYTHONSAFEPATH"}}


@pytest.fixture
def directory(tmp_path) -> Path:
    """A directory in which every import of a module of the user's fails."""
    modules = ["streams.py", "redis.py", "json.py", "structlog.py", "consumers/__init__.py", "projections/__init__.py"]
    for name in modules:
        path = tmp_path / "project" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("raise ImportError(f'{__file__} was imported')\n")
    return tmp_path / "project"


@pytest.mark.parametrize("command", [[*SCRIPT, "consumers"], [*PLAYHEAD, "consumers"], [*PLAYHEAD, "--help"]])
def test_a_command_imports_no_module_of_the_current_directory(directory, command):
    done = subprocess.run(command, cwd=directory, env=CLEAN, capture_output=True, check=False)

    assert (0, b"") == (done.returncode, done.stderr)
    assert (b"Usage" if "--help" in command else b"json-files") in done.stdout


def test_up_and_its_consumers_import_no_module_of_the_current_directory(directory, wait_until):
    messages = directory.with_suffix(".messages")
    with messages.open("wb") as stderr:
        up = subprocess.Popen([*PLAYHEAD, "up"], cwd=directory, env=CLEAN, stderr=stderr, stdout=subprocess.DEVNULL)
    wait_until(lambda: "every consumer is ready" in messages.read_text() or up.poll() is not None)
    children = psutil.Process(up.pid).children() if up.poll() is None else []
    up.send_signal(signal.SIGINT)
    code = up.wait(60)

    assert 0 == code, messages.read_text()
    assert "was imported" not in messages.read_text()
    assert len(children) > len(installed().consumers)
