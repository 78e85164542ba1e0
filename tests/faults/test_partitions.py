"""Three processes over four partitions, one of them killed again and again."""

import random
import signal

from tests.documents import job
from tests.faults.conftest import Stopwatch
from tests.faults.reports import Harm, Report

PARTITIONS = 4


def test_three_processes_over_four_partitions(theatre, report, count, seed):
    runs = count(3, 100)
    harm, recovery = kill_one_of_three(theatre, random.Random(seed), runs)
    control_harm, _ = kill_one_of_three(theatre, random.Random(seed), 2, "no lease")

    report(
        Report(
            "kill -9 of one of three processes over four partitions",
            "jobs",
            "order per subject kept, partitions taken over",
            runs,
            harm,
            "no lease",
            control_harm,
            recovery,
            seed,
            theatre.name,
        )
    )


def kill_one_of_three(theatre, chance, runs, control=None) -> tuple[Harm, float]:
    stage = theatre.begin(PARTITIONS)
    running = [theatre.spawn("jobs", control=control) for _ in range(3)]
    events, watch = [], Stopwatch()
    for _ in range(runs):
        victim = running.pop(chance.randrange(3))
        more = [job(len(events) + n, f"job/{chance.randrange(80)}") for n in range(120)]
        events += more
        for start in range(0, len(more), 20):
            stage.append(*more[start : start + 20])
            if start == 40:
                theatre.finish(victim, signal.SIGKILL)
                watch.start()
        stage.caught_up("jobs")
        watch.stop()
        running.append(theatre.spawn("jobs", control=control))
    theatre.stop(*running)
    return theatre.audit("jobs", events, naive=control is not None), watch.longest
