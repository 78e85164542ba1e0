"""kill -9 of a consumer process, at every named point and at any moment."""

import math
import random
import signal

import pytest

from playhead.streams.failpoints import Point
from tests.faults.effects import KINDS
from tests.faults.harness import Stopwatch
from tests.faults.reports import Harm, Report

CONTROLS = dict.fromkeys(KINDS, "no checkpoint") | dict.fromkeys(["json-files", "archives"], "acknowledge first")
PER_RUN = 12
PATIENT = 10
"""One lease in so many runs out by itself, so that its part of the recovery is seen; the others are ended at once."""

_READER = (Point.AFTER_READ, Point.BEFORE_ACK, Point.AFTER_ACK)
_FILES = (Point.MID_FILE, Point.BEFORE_SYNC, Point.AFTER_SYNC, Point.BEFORE_RENAME, Point.AFTER_RENAME)
_ROWS = (Point.MID_TRANSACTION, Point.BEFORE_COMMIT, Point.AFTER_COMMIT)
POINTS = {sink: (*_READER, *(_ROWS if kind.table else _FILES)) for sink, kind in KINDS.items()}
SMALL = 8_000
"""Bytes of a segment, so that the log seals one every few batches."""


@pytest.mark.parametrize("sink", CONTROLS)
def test_kill_9_at_every_failpoint_and_at_any_moment(harness, report, count, seed, sink):
    points: list[Point | None] = [*POINTS[sink], None]
    times = math.ceil(count(1, 500) / len(points))
    control = CONTROLS[sink]
    harm, recovery = kill_at(harness, sink, random.Random(seed), points * times)
    controlled = [Point.AFTER_ACK if control == "acknowledge first" else Point.BEFORE_ACK] * 3
    control_harm, _ = kill_at(harness, sink, random.Random(seed), controlled, control)

    report(
        Report(
            f"kill -9 of the consumer: at {', '.join(POINTS[sink])}, at any moment",
            sink,
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


def kill_at(harness, sink, chance, points, control=None) -> tuple[Harm, float]:
    """Append, start a consumer and kill it, once for each point, None for any moment; then see what one more makes."""
    pipeline = harness.begin()
    events = []
    watch = Stopwatch()
    for run, point in enumerate(points):
        more = [KINDS[sink].make(len(events) + n, str(chance.randrange(300))) for n in range(PER_RUN)]
        pipeline.append(*more)
        events += more
        watch.start()
        if point is None:
            pid = harness.spawn(sink, control=control)
            pipeline.wait_until(lambda: harness.is_held(sink))
            harness.finish(pid, signal.SIGKILL)
        else:
            number = 1 if control else chance.randrange(1, 3)
            pid = harness.spawn(sink, failpoint=f"{point}:{number}", control=control, segment_bytes=SMALL)
            harness.killed(pid)
        watch.stop()
        if run % PATIENT:
            harness.expire(sink)
    harness.drain(sink, control=control, segment_bytes=SMALL)
    return harness.audit(sink, events, naive=control == "no checkpoint"), watch.longest
