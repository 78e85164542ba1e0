"""Commands in a directory that holds modules of the user's own, under the names of ours and of what we import."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import psycopg
import pytest

from playhead.embedded.servers import running_servers
from playhead.settings.settings import declared
from playhead.streams.domains.discovery import installed

PLAYHEAD = [sys.executable, "-m", "playhead"]
SCRIPT = [str(Path(sys.executable).with_name("playhead"))]
CLEAN = {name: value for name, value in os.environ.items() if name not in {*declared(), "PYTHONPATH", "PYTHONSAFEPATH"}}

LEDGER = """
from playhead import FileProjection

class Ledger(FileProjection):
    def file_of(self, event):
        return "ledger.txt"

    def fold(self, name, content, events):
        lines = {*(content or b"").split(), *(event.event.id.encode() for event in events)}
        return b" ".join(sorted(lines))

billing.projection("ledger", Ledger, reads=["billing.requested"])
"""


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


@pytest.fixture
def own_domain(directory) -> None:
    """A domain of the user's own beside those modules, named in `playhead.toml`, with one more projection."""
    subprocess.run([*PLAYHEAD, "init", "billing", "--directory", "."], cwd=directory, env=CLEAN, check=True)
    declaration = directory / "billing" / "domain.py"
    declaration.write_text(declaration.read_text() + LEDGER)


def test_every_command_and_up_know_a_domain_of_the_current_directory(directory, own_domain, wait_until):
    def playhead(*arguments: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run([*SCRIPT, *arguments], cwd=directory, env=CLEAN, capture_output=True, check=False)

    def rows() -> list[tuple[str, str]]:
        with psycopg.connect(running_servers(directory / "playhead-data").database_url) as connection:
            return connection.execute("SELECT id, answer FROM billing_answers").fetchall()

    messages = directory.with_suffix(".messages")
    with messages.open("wb") as stderr:
        up = subprocess.Popen([*PLAYHEAD, "up"], cwd=directory, env=CLEAN, stderr=stderr, stdout=subprocess.DEVNULL)
    try:
        wait_until(lambda: "every consumer is ready" in messages.read_text() or up.poll() is not None)
        data = '{"id": "1", "text": "world"}'
        appended = playhead("append", "billing.requested", "--subject", "billing/1", "--data", data)
        wait_until(lambda: rows() == [("1", "Hello, world!")])
        wait_until(lambda: playhead("status").returncode == 0)
        done = {
            command: playhead(*command.split())
            for command in (
                *("consumers", "status", "parked list", "parked list billing-answer", "verify", "doctor", "db upgrade"),
                *("config show", "config check", "env", "log stat", "log verify", "replay --to billing-answers"),
            )
        }
        consumers = json.loads(playhead("consumers", "--json").stdout)["consumers"]
    finally:
        up.send_signal(signal.SIGINT)
        code = up.wait(60)

    assert (0, 0) == (code, appended.returncode), messages.read_text()
    assert "was imported" not in messages.read_text()
    assert {} == {command: one.stderr for command, one in done.items() if one.returncode != 0}
    assert '"ledger files": "playhead-data/ledger"' in messages.read_text()
    assert b"ok    ledger directory: playhead-data/ledger\nok    ledger directory free space: " in done["doctor"].stdout
    assert b"ledger 2; 0 faults\n" in done["verify"].stdout, "the request and its answer"
    assert done["verify"].stdout.endswith(b"projections; not compared: billing-answers\n")
    assert b"billing_greeting" in (directory / "playhead.toml").read_bytes()
    assert b"BILLING_GREETING" in done["config show"].stdout
    assert {"billing-answers", "billing-answer", "ledger"} == {
        one["name"] for one in consumers if one["package"] == "billing"
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "from playhead import Domain\nbilling = Domain('jobs')\n",
            "playhead.jobs.domain and billing.domain both declare",
        ),
        ("import no_such_module\n", "billing.domain:billing (domains in playhead.toml) cannot be imported"),
    ],
)
@pytest.mark.parametrize("command", ["--help", "consumers", "append job.failed", "up", "run jobs", "config check"])
def test_a_domain_that_cannot_be_had_is_one_clear_error_of_every_command(directory, own_domain, text, said, command):
    (directory / "billing" / "domain.py").write_text(text)
    done = subprocess.run([*PLAYHEAD, *command.split()], cwd=directory, env=CLEAN, capture_output=True, check=False)

    assert (2, b"") == (done.returncode, done.stdout)
    assert 1 == len(done.stderr.splitlines())
    assert said in done.stderr.decode()
