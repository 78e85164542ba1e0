"""A Postgres that goes away: restarted with no time to say so, and cut off at every message of its protocol."""

import math
import random
import signal

from tests.faults.conftest import Stopwatch
from tests.faults.effects import KINDS, count_effects
from tests.faults.postgres import CuttingProxy
from tests.faults.reports import Harm, Report

CONTROL = "no transaction"
DIRECTIONS = ("to the server", "to the client")
LOAD, PER_CUT = 8, 6


def test_immediate_restarts_of_postgres(theatre, report, count, seed, table_sink):
    sink = table_sink
    runs = count(1, 20)
    harm, recovery = restart_again_and_again(theatre, sink, random.Random(seed), runs)
    control_harm, _ = restart_again_and_again(theatre, sink, random.Random(seed), 2, CONTROL)

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
            theatre.name,
        )
    )


def restart_again_and_again(theatre, sink, chance, runs, control=None) -> tuple[Harm, float]:
    stage = theatre.begin()
    pid = theatre.spawn(sink, control=control, batch=100 if control else 20)
    events, watch = [], Stopwatch()
    for _ in range(runs):
        before = count_effects(stage.database)
        for _ in range(LOAD):
            more = [KINDS[sink].make(len(events) + n, str(chance.randrange(200))) for n in range(50)]
            stage.append(*more)
            events += more
        stage.wait_until(lambda before=before: count_effects(stage.database) > before)
        watch.start()
        theatre.postgres.restart()
        theatre.caught_up(sink)
        watch.stop()
    assert theatre.finish(pid, signal.SIGTERM) == 0
    return theatre.audit(sink, events, naive=control is not None), watch.longest


def test_a_connection_cut_at_every_message(theatre, report, count, seed, table_sink):
    sink = table_sink
    cuts, harm = cut_everywhere(theatre, sink, random.Random(seed), count(6, 150))
    _, control_harm = cut_everywhere(theatre, sink, random.Random(seed), 4, CONTROL)

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
            theatre.name,
        )
    )


def cut_everywhere(theatre, sink, chance, most, control=None) -> tuple[int, Harm]:
    stage = theatre.begin()
    events = []

    def append() -> None:
        more = [KINDS[sink].make(len(events) + n, str(chance.randrange(40))) for n in range(PER_CUT)]
        events.extend(more)
        stage.append(*more)
        theatre.caught_up(sink)

    with CuttingProxy(stage.database) as proxy:
        pid = theatre.spawn(sink, control=control, database=proxy.url)
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
        assert theatre.finish(pid, signal.SIGTERM) == 0
    return proxy.cuts, theatre.audit(sink, events, naive=control is not None)
