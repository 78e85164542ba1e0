"""Two owners of one projection: at once, and one that froze for longer than its lease and comes back."""

import random
import signal

import psutil
import pytest

from playhead.streams.failpoints import Point
from tests.faults.harness import Stopwatch
from tests.faults.reports import Harm, Report
from tests.support.events import job

SINKS = ("log", "json-files", "jobs", "ledger")


@pytest.mark.parametrize("sink", SINKS)
def test_a_frozen_owner_that_wakes_up_changes_nothing(harness, report, count, seed, sink):
    runs = count(4, 50)
    harm, recovery = freeze_again_and_again(harness, sink, random.Random(seed), runs)
    control_harm, _ = freeze_again_and_again(harness, sink, random.Random(seed), 3, "no checkpoint")

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
            harness.name,
        )
    )


def freeze_again_and_again(harness, sink, chance, runs, control=None) -> tuple[Harm, float]:
    pipeline = harness.begin()
    events, watch = [], Stopwatch()
    for _ in range(runs):
        more = [job(len(events) + n, f"job/{chance.randrange(60)}") for n in range(20)]
        events += more
        zombie = harness.spawn(sink, failpoint=f"{Point.AFTER_READ}:{chance.randrange(1, 4)}:STOP", control=control)
        pipeline.append(*more)
        pipeline.wait_until(lambda zombie=zombie: is_frozen(zombie))
        watch.start()
        successor = harness.spawn(sink, control=control)
        if sink != "log" or control:
            pipeline.caught_up(sink)
            watch.stop()
        harness.send(zombie, signal.SIGCONT)
        pipeline.caught_up(sink)
        harness.stop(zombie, successor)
    harness.drain(sink, control=control)
    return harness.audit(sink, events, naive=control is not None), watch.longest


@pytest.mark.parametrize("sink", SINKS)
def test_two_processes_of_one_projection_at_once(harness, report, count, seed, sink):
    events = count(600, 20_000)
    harm = serve_with_two(harness, sink, events)
    control_harm = serve_with_two(harness, sink, 600, "no lease")

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
            harness.name,
        )
    )


def serve_with_two(harness, sink, count, control=None) -> Harm:
    pipeline = harness.begin()
    both = [harness.spawn(sink, control=control) for _ in range(2)]
    events = [job(number, f"job/{number % 100}") for number in range(count)]
    for start in range(0, count, 50):
        pipeline.append(*events[start : start + 50])
    pipeline.caught_up(sink)
    harness.stop(*both)
    return harness.audit(sink, events, naive=control is not None)


def is_frozen(pid: int) -> bool:
    return psutil.Process(pid).status() == psutil.STATUS_STOPPED
