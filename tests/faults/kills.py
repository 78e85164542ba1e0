"""kill -9 of consumer processes, one after the other, at the points that an event crosses in them."""

import signal

from playhead.streams.failpoints import Point
from tests.faults.effects import kind_of
from tests.faults.harness import Stopwatch
from tests.faults.reports import Harm

PER_RUN = 12
PATIENT = 10
"""One lease in so many runs out by itself, so that its part of the recovery is seen; the others are ended at once."""

READER_POINTS = (Point.AFTER_READ, Point.BEFORE_ACK, Point.AFTER_ACK)
FILE_POINTS = (Point.MID_FILE, Point.BEFORE_SYNC, Point.AFTER_SYNC, Point.BEFORE_RENAME, Point.AFTER_RENAME)
TABLE_POINTS = (Point.MID_TRANSACTION, Point.BEFORE_COMMIT, Point.AFTER_COMMIT)
SMALL = 8_000
"""Bytes of a segment, so that the log seals one every few batches."""


def points_of(sink: str) -> tuple[Point, ...]:
    """The points that a sink crosses."""
    return (*READER_POINTS, *(TABLE_POINTS if kind_of(sink).table else FILE_POINTS))


def kill_at(harness, sink, chance, points, control=None) -> tuple[Harm, float]:
    """Append, start a consumer and kill it, once for each point, None for any moment; then see what one more makes."""
    pipeline = harness.begin()
    events = []
    watch = Stopwatch()
    for run, point in enumerate(points):
        more = [kind_of(sink).make(len(events) + n, str(chance.randrange(300))) for n in range(PER_RUN)]
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
