"""kill -9 of a consumer process, at named points and at any moment."""

import random
import signal

import pytest

from tests.documents import job
from tests.faults.conftest import Stopwatch
from tests.faults.reports import Harm, Report

POINTS = ("before apply", "after apply", "after advance")
CONTROLS = {"log": "no checkpoint", "json-files": "acknowledge first", "jobs": "no checkpoint"}
PER_RUN = 12


@pytest.mark.parametrize("sink", CONTROLS)
def test_kill_9_of_a_consumer(theatre, report, count, seed, sink):
    runs = count(12, 1000)
    harm, recovery = kill_again_and_again(theatre, sink, random.Random(seed), runs)
    control = CONTROLS[sink]
    control_harm, _ = kill_again_and_again(theatre, sink, random.Random(seed), 9, control)

    report(
        Report(
            "kill -9 of the consumer",
            sink,
            "0 lost, 0 duplicated, order kept",
            runs,
            harm,
            control,
            control_harm,
            recovery,
            seed,
            theatre.name,
        )
    )


def kill_again_and_again(theatre, sink, chance, runs, control=None) -> tuple[Harm, float]:
    stage = theatre.begin()
    events = []
    watch = Stopwatch()
    for run in range(runs):
        more = [job(len(events) + n, f"job/{chance.randrange(300)}") for n in range(PER_RUN)]
        stage.append(*more)
        events += more
        point = f"{POINTS[run % 3]}:{chance.randrange(1, 3)}" if run % 4 < 3 else None
        watch.start()
        pid = theatre.spawn(sink, kill=point, control=control)
        if point is None:
            stage.wait_until(lambda: theatre.is_held(sink))
            watch.stop()
            theatre.finish(pid, signal.SIGKILL)
        else:
            stage.wait_until(lambda pid=pid: theatre.ended(pid) is not None)
            watch.stop()
    theatre.drain(sink, control=control)
    return theatre.audit(sink, events, naive=control == "no checkpoint"), watch.longest
