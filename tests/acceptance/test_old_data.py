"""What version 0.1.0 wrote is read by this one, and nothing of it is written again."""

import json

import pytest

from tests.acceptance.old_data import NOTHING, OldData, read_schemas
from tests.acceptance.stack import Stack

WAITING = "old-waiting"
"""The event that was appended when no consumer ran any more; its job is the only one of its day."""
DAY = "outputs/daily/2025-08-08"


@pytest.fixture
def old(tmp_path) -> OldData:
    return OldData(tmp_path / "data")


@pytest.fixture
def stack(old, wait_until):
    stack = Stack(old.directory, wait_until)
    stack.start()

    def is_ready() -> bool:
        assert stack.process.poll() is None, stack.messages().decode()
        return b"every consumer is ready" in stack.messages()

    wait_until(is_ready)
    stack.caught_up()
    yield stack
    if stack.process.poll() is None:
        assert stack.stop() == 0


def parked(stack: Stack) -> list[tuple[str, ...]]:
    return sorted((one["consumer"], one["id"], one["position"], one["reason"]) for one in stack.json("parked", "list"))


def test_everything_is_there_as_it_was_left_and_consumers_go_on_where_they_were(old, stack):
    held, positions = old.read(), old.read_positions()
    added = held - old.left

    assert NOTHING == old.left - held
    assert old.sealed <= old.read_sealed()
    assert [WAITING] == [json.loads(line)["event"]["id"] for line in added.lines]
    assert {f"{DAY}/summary.json", f"{DAY}/processed/waiting.json"} == {name for name, _ in added.files}
    assert ["jobs", "organization_results"] == sorted(table for table, *_ in added.rows)
    assert {"playhead"} == read_schemas(old.directory)
    assert old.positions.keys() <= positions.keys()
    assert [] == [name for name, position in old.positions.items() if positions[name] < position]


def test_verification_finds_no_fault_and_what_was_parked_is_listed(old, stack):
    log, whole = stack.playhead("log", "verify", "--json"), stack.playhead("verify", "--json")
    logged, verified = json.loads(log.stdout), json.loads(whole.stdout)

    assert (0, 0) == (log.returncode, whole.returncode)
    assert ([], [], []) == (logged["faults"], verified["faults"], verified["lost"])
    assert len(old.left.lines) + 1 == logged["events"] == verified["events"]
    assert {"json-files", "jobs", "organizations", "transcode"} == {one["consumer"] for one in old.parked}
    assert parked(stack) == sorted(
        (one["consumer"], one["id"], one["parked_position"], one["parked_reason"]) for one in old.parked
    )


def test_an_event_that_was_appended_before_is_not_appended_again(old, stack):
    held = old.read()
    logged = [json.loads(line) for line in sorted(held.lines)]
    lines = [json.dumps({name: one["event"][name] for name in ("id", "type", "subject", "data")}) for one in logged]
    appended = stack.playhead("append", "--json", "--stream", "jobs", stdin="\n".join(lines).encode())
    stack.caught_up()

    assert [one["position"] for one in logged] == [
        json.loads(line)["position"] for line in appended.stdout.splitlines()
    ]
    assert held == old.read()


def test_a_replay_of_the_log_changes_nothing(old, stack):
    held, before = old.read(), parked(stack)
    replayed = stack.json("replay", "--log")
    stack.caught_up()

    assert len(held.lines) - len({"old-note", "old-document"}) == replayed["replayed"]
    assert sum(one["consumer"] != "transcode" for one in old.parked) == replayed["failed"]
    assert held == old.read()
    assert before == parked(stack)
