"""Processes that end, and servers and disks that fail for a while."""

import random
import signal

import pytest

from tests.faults.reports import Harm, Report
from tests.support.events import job

SINKS = ("log", "json-files", "jobs")
MAX_DELIVERIES = 4


def test_an_event_that_kills_its_process_is_parked_and_the_rest_flows(harness, report, seed):
    pipeline = harness.begin()
    events = [job(number, f"job/{number % 40}") for number in range(120)]
    pipeline.append(*events)
    starts = start_until_it_lives(harness, MAX_DELIVERIES, limit=3 * MAX_DELIVERIES)
    parked = pipeline.parked("jobs")

    assert {"job/7"} == {one.subject for one in parked}
    assert ["killed", "behind"] == [one.reason_class for one in parked][:2]
    applied = [event for event in events if event.subject != "job/7"]
    harm = harness.audit("jobs", applied)
    harness.begin().append(*events)
    limit = 2 * MAX_DELIVERIES
    lost = len(events) if start_until_it_lives(harness, 1_000_000, limit) == limit else 0
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
            harness.name,
        )
    )


def start_until_it_lives(harness, max_deliveries, limit) -> int:
    """How many processes it took until one had read everything."""
    pipeline = harness.pipeline
    for start in range(1, limit + 1):
        pid = harness.spawn("jobs", poison="e7", max_deliveries=max_deliveries, batch=50)
        codes = []

        def is_over(pid=pid, codes=codes):
            codes.append(harness.ended(pid))
            return codes[-1] is not None or not pipeline.behind("jobs")

        pipeline.wait_until(is_over)
        if codes[-1] is None:
            assert harness.finish(pid, signal.SIGTERM) == 0
            return start
        assert codes[-1] == -signal.SIGKILL
    return limit


@pytest.mark.parametrize("sink", SINKS)
def test_sigterm_under_load_finishes_the_batch_and_exits_with_0(harness, seed, sink):
    pipeline, chance = harness.begin(), random.Random(seed)
    events = [job(number, f"job/{chance.randrange(100)}") for number in range(600)]
    pipeline.append(*events)
    for _ in range(6):
        pid = harness.spawn(sink)
        pipeline.wait_until(lambda: harness.is_held(sink))
        assert harness.finish(pid, signal.SIGTERM) == 0
        assert not harness.is_held(sink), "the lease is given back"
    harness.drain(sink, batch=200)

    assert not harness.audit(sink, events), f"seed {seed}"
