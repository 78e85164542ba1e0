"""Two owners of one projection: at once, and one that froze for longer than its lease and comes back."""

import random
import signal

import psutil
import pytest

from playhead.streams.failpoints import Point
from tests.documents import job
from tests.faults.conftest import Stopwatch
from tests.faults.reports import Harm, Report

SINKS = ("log", "json-files", "jobs")


@pytest.mark.parametrize("sink", SINKS)
def test_a_frozen_owner_that_wakes_up_changes_nothing(theatre, report, count, seed, sink):
    runs = count(4, 50)
    harm, recovery = freeze_again_and_again(theatre, sink, random.Random(seed), runs)
    control_harm, _ = freeze_again_and_again(theatre, sink, random.Random(seed), 3, "no checkpoint")

    report(
        Report(
            "SIGSTOP of the owner beyond its lease, then SIGCONT",
            sink,
            "the successor goes on, the former owner writes nothing" if sink != "log" else "nothing doubled",
            runs,
            harm,
            "no epoch, no checkpoint",
            control_harm,
            None if sink == "log" else recovery,  # its lock stays with the frozen process, and the log waits
            seed,
            theatre.name,
        )
    )


def freeze_again_and_again(theatre, sink, chance, runs, control=None) -> tuple[Harm, float]:
    stage = theatre.begin()
    events, watch = [], Stopwatch()
    for _ in range(runs):
        more = [job(len(events) + n, f"job/{chance.randrange(60)}") for n in range(20)]
        events += more
        zombie = theatre.spawn(sink, failpoint=f"{Point.AFTER_READ}:{chance.randrange(1, 4)}:STOP", control=control)
        stage.append(*more)
        stage.wait_until(lambda zombie=zombie: is_frozen(zombie))
        watch.start()
        successor = theatre.spawn(sink, control=control)
        if sink != "log" or control:
            stage.caught_up(sink)
            watch.stop()
        theatre.send(zombie, signal.SIGCONT)
        stage.caught_up(sink)
        theatre.stop(zombie, successor)
    theatre.drain(sink, control=control)
    return theatre.audit(sink, events, naive=control is not None), watch.longest


@pytest.mark.parametrize("sink", SINKS)
def test_two_processes_of_one_projection_at_once(theatre, report, count, seed, sink):
    events = count(600, 20_000)
    harm = serve_with_two(theatre, sink, events)
    control_harm = serve_with_two(theatre, sink, 600, "no lease")

    report(
        Report(
            "two processes of one projection at once",
            sink,
            "one writes, the other stands by",
            1,
            harm,
            "no lease",
            control_harm,
            None,
            seed,
            theatre.name,
        )
    )


def serve_with_two(theatre, sink, count, control=None) -> Harm:
    stage = theatre.begin()
    both = [theatre.spawn(sink, control=control) for _ in range(2)]
    events = [job(number, f"job/{number % 100}") for number in range(count)]
    for start in range(0, count, 50):
        stage.append(*events[start : start + 50])
    stage.caught_up(sink)
    theatre.stop(*both)
    return theatre.audit(sink, events, naive=control is not None)


def is_frozen(pid: int) -> bool:
    return psutil.Process(pid).status() == psutil.STATUS_STOPPED
