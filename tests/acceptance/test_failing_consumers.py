"""`playhead up` with a domain of one's own whose consumers fail: the others run on."""

import json
import re
import signal
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

DOMAIN = """
import time
from pathlib import Path

import msgspec
from playhead import Domain

failing = Domain("failing")
stream = failing.stream("things")


@stream.event("thing.asked", subject="thing/{id}")
class Asked(msgspec.Struct, frozen=True):
    id: str


@stream.event("thing.answered", subject="thing/{id}")
class Answered(msgspec.Struct, frozen=True):
    id: str


def broken(place):
    raise RuntimeError("no such machine")


def tired(place):
    def round():
        if Path("full").exists():
            raise RuntimeError("the moon is full")

    return round


failing.clock("broken", broken, every=1)
failing.clock("tired", tired, every=1)


@failing.worker("answer", on=Asked, ends=[Answered])
def answer(task):
    if task.data.id == "quit":
        raise SystemExit(f"attempt {task.attempt}")
    if task.data.id == "long":
        Path("begun").touch()
        time.sleep(3600)
    return Answered(task.data.id)
"""


@pytest.fixture
def up(tmp_path, start_up):
    (tmp_path / "failing_domain.py").write_text(DOMAIN)
    up = start_up(
        tmp_path / "data",
        PLAYHEAD_DOMAINS="failing_domain:failing",
        PLAYHEAD_LEASE_SECONDS="1",
        PLAYHEAD_MAX_ATTEMPTS="2",
    )
    up.wait_for("every consumer is ready")
    return up


def ready(address: str) -> tuple[int, str]:
    try:
        with urlopen(f"{address}/readyz") as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()


def test_consumers_that_fail_end_no_other(up, wait_until):
    def ask(id: str) -> None:
        up.playhead("append", "thing.asked", "--subject", f"thing/{id}", "--data", json.dumps({"id": id}))

    def answered(id: str) -> bool:
        return f"thing/{id}" in up.playhead("log", "cat", "--type", "thing.answered").stdout

    tired = up.consumer("tired")
    (up.directory.parent / "full").touch()
    ask("quit")
    wait_until(lambda: "answer" in up.playhead("parked", "list").stdout)
    ask("one")
    wait_until(lambda: answered("one"))
    address = re.search(r'"tired metrics": "(http://\S+)/metrics"', up.messages())[1]
    wait_until(lambda: ready(address) == (503, "RuntimeError: the moon is full\n"))

    parked = up.playhead("parked", "list").stdout
    assert "refused: RuntimeError: SystemExit was raised" in parked
    assert tired.is_running()
    assert "every consumer is ready, but these keep ending: broken" in up.messages()
    assert re.search(r'"consumer": "broken".*"a consumer keeps ending; see its messages above"', up.messages())
    assert up.process.poll() is None


def test_ctrl_c_says_what_it_waits_for_and_a_second_one_does_not_wait(up, wait_until):
    up.playhead("append", "thing.asked", "--subject", "thing/long", "--data", '{"id": "long"}')
    wait_until((up.directory.parent / "begun").exists)
    up.process.send_signal(signal.SIGINT)
    up.wait_for("waiting for what it has in hand")
    up.process.send_signal(signal.SIGINT)

    assert up.process.wait(120) == 0
    assert re.search(r'"consumer": "answer", "event": "waiting for what it has in hand', up.messages())
    assert re.search(r'"consumer": "answer", "reason": "a second signal", "event": "killed before', up.messages())
