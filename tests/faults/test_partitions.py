"""Three processes over four partitions, one of them killed again and again."""

import random
import signal
import threading

from playhead.streams.partitions import Partition
from tests.faults.harness import Stopwatch
from tests.faults.reports import Harm, Report
from tests.support.events import job

PARTITIONS = 4
LEASE = 0.5


def test_three_processes_over_four_partitions(harness, report, count, seed):
    runs = count(3, 100)
    harm, recovery = kill_one_of_three(harness, random.Random(seed), runs)
    control_harm, _ = kill_one_of_three(harness, random.Random(seed), 2, "no lease")

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
            harness.name,
        )
    )


def kill_one_of_three(harness, chance, runs, control=None) -> tuple[Harm, float]:
    pipeline = harness.begin(PARTITIONS)
    running = [harness.spawn("jobs", control=control) for _ in range(3)]
    events, watch = [], Stopwatch()
    for _ in range(runs):
        victim = running.pop(chance.randrange(3))
        more = [job(len(events) + n, f"job/{chance.randrange(80)}") for n in range(120)]
        events += more
        for start in range(0, len(more), 20):
            pipeline.append(*more[start : start + 20])
            if start == 40:
                harness.finish(victim, signal.SIGKILL)
                watch.start()
        pipeline.caught_up("jobs")
        watch.stop()
        running.append(harness.spawn("jobs", control=control))
    harness.stop(*running)
    return harness.audit("jobs", events, naive=control is not None), watch.longest


def test_partitions_move_within_the_lease_time_while_events_keep_coming(harness, report, count, seed):
    """One of three processes dies every few seconds, for five minutes in the full form."""
    kills, between = count(4, 100), count(20, 2000)
    harm, longest = kill_under_load(harness, random.Random(seed), kills, between)
    control_harm, _ = kill_under_load(harness, random.Random(seed), 2, between=20, control="no lease")

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
            harness.name,
        )
    )


def kill_under_load(harness, chance, kills, between, control=None) -> tuple[Harm, float]:
    """Kill again after so many events more; the recovery is the longest time for which a partition had no owner."""
    pipeline = harness.begin(PARTITIONS)
    running = [harness.spawn("jobs", control=control, lease=LEASE) for _ in range(3)]
    keys = [f"{Partition('jobs', number).key}:lease:jobs" for number in range(PARTITIONS)]
    stop, events, watch = threading.Event(), [], Stopwatch()

    def produce() -> None:
        while not stop.is_set() or len(events) < 200:
            more = [job(len(events) + n, f"job/{chance.randrange(80)}") for n in range(20)]
            pipeline.append(*more)
            events.extend(more)
            stop.wait(0.02)

    producing = threading.Thread(target=produce)
    producing.start()
    try:
        if control is None:
            pipeline.wait_until(lambda: all(pipeline.redis.mget(keys)))
        for number in range(kills):
            before = pipeline.redis.mget(keys)
            victim = running.pop(number % 3)
            harness.finish(victim, signal.SIGKILL)
            held = [
                key for key, holder in zip(keys, before, strict=True) if holder and f"/{victim}/".encode() in holder
            ]
            watch.start()
            pipeline.wait_until(lambda held=held, before=before: _are_taken_over(pipeline, keys, held, before))
            watch.stop()
            running.append(harness.spawn("jobs", control=control, lease=LEASE))
            enough = len(events) + between
            pipeline.wait_until(lambda enough=enough: len(events) >= enough)
    finally:
        stop.set()
        producing.join()
    pipeline.caught_up("jobs")
    harness.stop(*running)
    return harness.audit("jobs", events, naive=control is not None), watch.longest


def _are_taken_over(pipeline, keys, held, before) -> bool:
    now = dict(zip(keys, pipeline.redis.mget(keys), strict=True))
    former = dict(zip(keys, before, strict=True))
    return all(now[key] and now[key] != former[key] for key in held)
