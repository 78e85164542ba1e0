"""Processes that end, and servers and disks that fail for a while."""

import random
import signal

import pytest

from tests.documents import job
from tests.faults.reports import Harm, Report

SINKS = ("log", "json-files", "jobs")
MAX_DELIVERIES = 4


def test_an_event_that_kills_its_process_is_parked_and_the_rest_flows(theatre, report, seed):
    stage = theatre.begin()
    events = [job(number, f"job/{number % 40}") for number in range(120)]
    stage.append(*events)
    starts = start_until_it_lives(theatre, MAX_DELIVERIES, limit=3 * MAX_DELIVERIES)
    parked = stage.parked("jobs")

    assert {"job/7"} == {one.subject for one in parked}
    assert ["killed", "behind"] == [one.reason_class for one in parked][:2]
    applied = [event for event in events if event.subject != "job/7"]
    harm = theatre.audit("jobs", applied)
    theatre.begin().append(*events)
    limit = 2 * MAX_DELIVERIES
    lost = len(events) if start_until_it_lives(theatre, 1_000_000, limit) == limit else 0
    report(
        Report(
            "an event that kills the process",
            "jobs",
            f"parked after {MAX_DELIVERIES} deliveries, the rest flows",
            starts,
            harm,
            "no delivery limit",
            Harm(lost=lost),
            None,
            seed,
            theatre.name,
        )
    )


def start_until_it_lives(theatre, max_deliveries, limit) -> int:
    """How many processes it took until one had read everything."""
    stage = theatre.stage
    for start in range(1, limit + 1):
        pid = theatre.spawn("jobs", poison="e7", max_deliveries=max_deliveries, batch=50)
        codes = []

        def is_over(pid=pid, codes=codes):
            codes.append(theatre.ended(pid))
            return codes[-1] is not None or not stage.behind("jobs")

        stage.wait_until(is_over)
        if codes[-1] is None:
            assert theatre.finish(pid, signal.SIGTERM) == 0
            return start
        assert codes[-1] == -signal.SIGKILL
    return limit


@pytest.mark.parametrize("sink", SINKS)
def test_sigterm_under_load_finishes_the_batch_and_exits_with_0(theatre, seed, sink):
    stage, chance = theatre.begin(), random.Random(seed)
    events = [job(number, f"job/{chance.randrange(100)}") for number in range(600)]
    stage.append(*events)
    for _ in range(6):
        pid = theatre.spawn(sink)
        stage.wait_until(lambda: theatre.is_held(sink))
        assert theatre.finish(pid, signal.SIGTERM) == 0
        assert not theatre.is_held(sink), "the lease is given back"
    theatre.drain(sink, batch=200)

    assert not theatre.audit(sink, events), f"seed {seed}"
