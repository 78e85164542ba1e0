"""Three processes over four partitions, one of them killed again and again."""

import random
import signal
import threading

from playhead.streams.partitions import Partition
from tests.documents import job
from tests.faults.conftest import Stopwatch
from tests.faults.reports import Harm, Report

PARTITIONS = 4
LEASE = 0.5


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


def test_partitions_move_within_the_lease_time_while_events_keep_coming(theatre, report, count, seed):
    """One of three processes dies every few seconds, for five minutes in the full form."""
    kills, between = count(4, 100), count(20, 2000)
    harm, longest = kill_under_load(theatre, random.Random(seed), kills, between)
    control_harm, _ = kill_under_load(theatre, random.Random(seed), 2, between=20, control="no lease")

    report(
        Report(
            "kill -9 of one of three processes over four partitions, again and again under load",
            "jobs",
            f"every partition is served again within its lease of {LEASE} s and a look at it",
            kills,
            harm,
            "no lease",
            control_harm,
            longest,
            seed,
            theatre.name,
        )
    )


def kill_under_load(theatre, chance, kills, between, control=None) -> tuple[Harm, float]:
    """Kill again after so many events more; the recovery is the longest time for which a partition had no owner."""
    stage = theatre.begin(PARTITIONS)
    running = [theatre.spawn("jobs", control=control, lease=LEASE) for _ in range(3)]
    keys = [f"{Partition('jobs', number).key}:lease:jobs" for number in range(PARTITIONS)]
    stop, events, watch = threading.Event(), [], Stopwatch()

    def produce() -> None:
        while not stop.is_set() or len(events) < 200:
            more = [job(len(events) + n, f"job/{chance.randrange(80)}") for n in range(20)]
            stage.append(*more)
            events.extend(more)
            stop.wait(0.02)

    producing = threading.Thread(target=produce)
    producing.start()
    try:
        if control is None:
            stage.wait_until(lambda: all(stage.redis.mget(keys)))
        for number in range(kills):
            before = stage.redis.mget(keys)
            victim = running.pop(number % 3)
            theatre.finish(victim, signal.SIGKILL)
            held = [
                key for key, holder in zip(keys, before, strict=True) if holder and f"/{victim}/".encode() in holder
            ]
            watch.start()
            stage.wait_until(lambda held=held, before=before: _are_taken_over(stage, keys, held, before))
            watch.stop()
            running.append(theatre.spawn("jobs", control=control, lease=LEASE))
            enough = len(events) + between
            stage.wait_until(lambda enough=enough: len(events) >= enough)
    finally:
        stop.set()
        producing.join()
    stage.caught_up("jobs")
    theatre.stop(*running)
    return theatre.audit("jobs", events, naive=control is not None), watch.longest


def _are_taken_over(stage, keys, held, before) -> bool:
    now = dict(zip(keys, stage.redis.mget(keys), strict=True))
    former = dict(zip(keys, before, strict=True))
    return all(now[key] and now[key] != former[key] for key in held)
