"""Given a function that the clock calls, when rounds fail or ask for another pause, then this comes of it."""

import asyncio

import pytest
from structlog.testing import capture_logs

from playhead.consumers.processes.clock import ClockService, wait_after
from playhead.consumers.processes.service import Supervisor
from playhead.streams.errors import PlayheadError


class Rounds:
    """Plays one answer a round, and stops the clock with the last."""

    def __init__(self, *answers: float | Exception | None) -> None:
        self.answers = list(answers)
        self.clock: ClockService | None = None
        self.problems: list[list[str]] = []

    def play(self, every: float) -> None:
        self.clock = ClockService("tidy", self.call, every)
        asyncio.run(asyncio.wait_for(self.clock.run(), 30))

    def call(self) -> float | None:
        assert self.clock is not None
        self.problems.append(self.clock.problems())
        answer = self.answers.pop(0)
        if not self.answers:
            self.clock.stop()
        if isinstance(answer, Exception):
            raise answer
        return answer


class Failing(ClockService):
    def __init__(self) -> None:
        super().__init__("tidy", fail, 3600)

    async def run(self) -> None:
        fail()


def fail() -> None:
    raise KeyError("of the function")


def test_rounds_follow_one_another_until_it_is_stopped():
    rounds = Rounds(None, None, None)
    rounds.play(every=0.001)

    assert [["not started yet"], [], []] == rounds.problems


def test_a_round_may_ask_for_the_next_one_sooner():
    rounds = Rounds(0.001, None)
    rounds.play(every=3600)

    assert [["not started yet"], []] == rounds.problems


def test_a_failed_round_makes_the_process_unready_until_one_succeeds():
    rounds = Rounds(None, PlayheadError("not there"), OSError("no room"), None, None)
    with capture_logs() as logs:
        rounds.play(every=0.001)

    assert [["not started yet"], [], ["PlayheadError: not there"], ["OSError: no room"], []] == rounds.problems
    assert ["PlayheadError", "OSError"] == [entry["error"] for entry in logs]
    assert {("to be tried again", "tidy")} == {(entry["event"], entry["projection"]) for entry in logs}


def test_a_round_with_a_bug_is_tried_again_like_any_other_and_its_traceback_logged():
    rounds = Rounds(KeyError("of the function"), None, None)
    with capture_logs() as logs:
        rounds.play(every=0.001)

    assert [["not started yet"], ["KeyError: 'of the function'"], []] == rounds.problems
    assert [("KeyError", True)] == [(entry["error"], entry["exc_info"] is not None) for entry in logs]


def test_rounds_that_go_on_failing_wait_twice_as_long_each_time_but_no_longer_than_usual():
    assert [10, 20, 40, 80, 100] == [wait_after(failures, every=100) for failures in range(1, 6)]
    assert (5, 100) == (wait_after(1, every=5), wait_after(100_000, every=100))


@pytest.mark.parametrize("returned", [-1, float("nan"), float("inf"), "60", True])
def test_a_round_that_returns_no_time_fails(returned):
    rounds = Rounds(returned, None)
    with capture_logs() as logs:
        rounds.play(every=0.001)

    assert [["not started yet"], [f"TypeError: a round returns None or seconds from 0 up, not {returned!r}"]] == (
        rounds.problems
    )
    assert ["to be tried again"] == [entry["event"] for entry in logs]


def test_a_supervisor_keeps_what_ended_a_service_and_says_so():
    async def run():
        supervisor, over = Supervisor("tidy"), asyncio.Event()
        before = supervisor.problems()
        supervisor.start(Failing(), on_failure=over.set)
        await over.wait()
        await supervisor.stop()
        return before, supervisor

    with capture_logs() as logs:
        before, supervisor = asyncio.run(run())

    assert ["not started yet"] == before
    assert isinstance(supervisor.failure, KeyError)
    assert ["KeyError: 'of the function'"] == supervisor.problems()
    assert [("consumer failed", "critical")] == [(entry["event"], entry["log_level"]) for entry in logs]


def test_a_service_that_is_stopped_before_it_began_ends():
    async def run():
        supervisor = Supervisor("tidy")
        supervisor.start(ClockService("tidy", lambda: None, 3600), on_failure=pytest.fail)
        await supervisor.stop()
        return supervisor.problems()

    assert ["not started yet"] == asyncio.run(run())
