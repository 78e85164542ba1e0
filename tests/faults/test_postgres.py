"""A Postgres that goes away: restarted with no time to say so, and cut off at every message of its protocol."""

import math
import random
import signal

from tests.faults.effects import KINDS, count_effects
from tests.faults.harness import Stopwatch
from tests.faults.postgres import CuttingProxy
from tests.faults.reports import Harm, Report

CONTROL = "no transaction"
DIRECTIONS = ("to the server", "to the client")
LOAD, PER_CUT = 8, 6


def test_immediate_restarts_of_postgres(harness, report, count, seed, table_sink):
    sink = table_sink
    runs = count(1, 20)
    harm, recovery = restart_again_and_again(harness, sink, random.Random(seed), runs)
    control_harm, _ = restart_again_and_again(harness, sink, random.Random(seed), 2, CONTROL)

    report(
        Report(
            "Postgres restarted under load with pg_ctl -m immediate",
            sink,
            "goes on where the checkpoint stands",
            runs,
            harm,
            CONTROL,
            control_harm,
            recovery,
            seed,
            harness.name,
        )
    )


def restart_again_and_again(harness, sink, chance, runs, control=None) -> tuple[Harm, float]:
    pipeline = harness.begin()
    pid = harness.spawn(sink, control=control, batch=100 if control else 20)
    events, watch = [], Stopwatch()
    for _ in range(runs):
        before = count_effects(pipeline.database)
        for _ in range(LOAD):
            more = [KINDS[sink].make(len(events) + n, str(chance.randrange(200))) for n in range(50)]
            pipeline.append(*more)
            events += more
        pipeline.wait_until(lambda before=before: count_effects(pipeline.database) > before)
        watch.start()
        harness.postgres.restart()
        harness.caught_up(sink)
        watch.stop()
    assert harness.finish(pid, signal.SIGTERM) == 0
    return harness.audit(sink, events, naive=control is not None), watch.longest


def test_a_connection_cut_at_every_message(harness, report, count, seed, table_sink):
    sink = table_sink
    cuts, harm = cut_everywhere(harness, sink, random.Random(seed), count(6, 150))
    _, control_harm = cut_everywhere(harness, sink, random.Random(seed), 4, CONTROL)

    assert cuts >= 10
    report(
        Report(
            "the connection to Postgres cut at each message, either way, from its start to behind a commit",
            sink,
            "what was committed is not written again, what was not is",
            cuts,
            harm,
            CONTROL,
            control_harm,
            None,
            seed,
            harness.name,
        )
    )


def cut_everywhere(harness, sink, chance, most, control=None) -> tuple[int, Harm]:
    pipeline = harness.begin()
    events = []

    def append() -> None:
        more = [KINDS[sink].make(len(events) + n, str(chance.randrange(40))) for n in range(PER_CUT)]
        events.extend(more)
        pipeline.append(*more)
        harness.caught_up(sink)

    with CuttingProxy(pipeline.database) as proxy:
        pid = harness.spawn(sink, control=control, database=proxy.url)
        append()
        proxy.drop()
        before = dict(proxy.passed)
        append()
        whole = {direction: proxy.passed[direction] - before[direction] for direction in DIRECTIONS}
        for direction in DIRECTIONS:
            for number in range(1, whole[direction] + 1, math.ceil(whole[direction] / most)):
                proxy.drop()
                proxy.arm(direction, number)
                append()
                proxy.disarm()
        assert harness.finish(pid, signal.SIGTERM) == 0
    return proxy.cuts, harness.audit(sink, events, naive=control is not None)
