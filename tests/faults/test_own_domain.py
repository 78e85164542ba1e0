"""kill -9 of the consumers of a stranger's domain, `examples/invoices`, at every named point and at any moment."""

import json
import math
import os
import random
import signal
import sys
from collections import Counter

import pytest

from playhead.streams.domains.discovery import Found, chosen, load
from playhead.streams.failpoints import Point
from playhead.streams.names import DomainVariable
from playhead.streams.partitions import Partition
from tests.faults.effects import payment
from tests.faults.harness import Harness, Stopwatch
from tests.faults.kills import PATIENT, PER_RUN, kill_at, points_of
from tests.faults.reports import Harm, Report
from tests.faults.spec import CONSUMERS
from tests.support.fork_server import ROOT, ForkServer
from tests.support.receipts import ReceiptServer
from tests.support.workers import outcomes

EXAMPLE = str(ROOT / "examples" / "invoices")
DOMAIN = "acme_invoices.domain:invoices"
CONTROLS = {"revenue": "no checkpoint", "daily-payments": "acknowledge first"}
WORKER_POINTS = (Point.AFTER_READ, Point.BEFORE_OUTCOME, Point.BEFORE_ACK, Point.AFTER_ACK)
INVOICES = Partition("invoices", 0)


@pytest.fixture(scope="module")
def own_fork_server(tmp_path_factory):
    environment = {
        DomainVariable.DOMAINS: DOMAIN,
        "PYTHONPATH": os.pathsep.join([EXAMPLE, os.environ.get("PYTHONPATH", "")]),
    }
    fork_server = ForkServer(CONSUMERS, tmp_path_factory.mktemp("fork_server") / "log", environment)
    yield fork_server
    fork_server.close()


@pytest.fixture
def harness(fault_server, postgres, tmp_path, wait_until, own_fork_server, monkeypatch):
    """One whose processes and database have the domain, as this process has while the test runs."""
    monkeypatch.setattr(sys, "path", [*sys.path, EXAMPLE])
    with chosen(load([Found(DOMAIN, "this test")])):
        harness = Harness(fault_server, postgres, tmp_path, wait_until, own_fork_server)
        yield harness
        harness.end()


@pytest.mark.parametrize("sink", CONTROLS)
def test_a_projection_that_is_killed_loses_and_doubles_nothing(harness, report, count, seed, sink):
    points: list[Point | None] = [*points_of(sink), None]
    times = math.ceil(count(1, 100) / len(points))
    control = CONTROLS[sink]
    harm, recovery = kill_at(harness, sink, random.Random(seed), points * times)
    controlled = [Point.AFTER_ACK if control == "acknowledge first" else Point.BEFORE_ACK] * 3
    control_harm, _ = kill_at(harness, sink, random.Random(seed), controlled, control)

    report(
        Report(
            f"kill -9 of a projection of one's own: at {', '.join(points_of(sink))}, at any moment",
            f"{sink} (example)",
            "0 lost, 0 duplicated, order kept",
            len(points) * times,
            harm,
            control,
            control_harm,
            recovery,
            seed,
            harness.name,
        )
    )


def test_a_worker_that_is_killed_sends_one_receipt_and_appends_one_outcome(harness, report, count, seed):
    points: list[Point | None] = [*WORKER_POINTS, None]
    times = math.ceil(count(1, 100) / len(points))
    harm, recovery = kill_worker(harness, random.Random(seed), points * times)
    control, _ = kill_worker(harness, random.Random(seed), [Point.BEFORE_OUTCOME] * 3, "acknowledge first")

    report(
        Report(
            f"kill -9 of a worker of one's own: at {', '.join(WORKER_POINTS)}, at any moment",
            "receipt (example)",
            "one receipt and one outcome for each event",
            len(points) * times,
            harm,
            "acknowledge first",
            control,
            recovery,
            seed,
            harness.name,
        )
    )


def kill_worker(harness, chance, points, control=None) -> tuple[Harm, float]:
    """Append, start the worker and kill it, once for each point, None for any moment; then see what one more makes."""
    pipeline = harness.begin()
    events = []
    watch = Stopwatch()
    with ReceiptServer() as receipts:
        spec = {"control": control, "settings": {"INVOICES_RECEIPTS_URL": receipts.url}}
        for run, point in enumerate(points):
            more = [payment(len(events) + n, str(chance.randrange(300))) for n in range(PER_RUN)]
            pipeline.append(*more)
            events += more
            asked = receipts.asked.total()
            watch.start()
            if point is None:
                pid = harness.spawn("receipt", **spec)
                pipeline.wait_until(lambda asked=asked: receipts.asked.total() > asked)
                harness.finish(pid, signal.SIGKILL)
            else:
                pid = harness.spawn("receipt", failpoint=f"{point}:{chance.randrange(1, 3)}", **spec)
                harness.killed(pid)
            watch.stop()
            if run % PATIENT:
                harness.expire("receipt")
        pid = harness.spawn("receipt", **spec)
        pipeline.wait_until(lambda: is_done(pipeline.redis))
        harness.stop(pid)
        return audit(pipeline.redis, receipts, events), watch.longest


def is_done(redis) -> bool:
    """Whether the worker has passed every entry, and holds none."""
    newest = redis.xrevrange(INVOICES.key, count=1)[0][0]
    groups = {group["name"]: group for group in redis.xinfo_groups(INVOICES.key)}
    group = groups.get(b"receipt")
    return group is not None and group["last-delivered-id"] == newest and group["pending"] == 0


def audit(redis, receipts, events) -> Harm:
    """Compare the outcomes, and the receipts that the server sent, with the events."""
    appended = outcomes(redis, "receipt.sent", INVOICES)
    causes = Counter(outcome.causationid for outcome in appended)
    return Harm(
        lost=len({event.id for event in events} - causes.keys()),
        duplicated=causes.total() - len(causes),
        wrong=sum(json.loads(one.data)["receipt"] != receipts.receipts.get(one.causationid) for one in appended),
    )
