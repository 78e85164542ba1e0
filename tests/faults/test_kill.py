"""kill -9 of a consumer process, at every named point and at any moment."""

import math
import random

import pytest

from playhead.streams.failpoints import Point
from tests.faults.effects import KINDS
from tests.faults.kills import kill_at, points_of
from tests.faults.reports import Report

CONTROLS = dict.fromkeys(KINDS, "no checkpoint") | dict.fromkeys(["json-files", "archives"], "acknowledge first")


@pytest.mark.parametrize("sink", CONTROLS)
def test_kill_9_at_every_failpoint_and_at_any_moment(harness, report, count, seed, sink):
    points: list[Point | None] = [*points_of(sink), None]
    times = math.ceil(count(1, 500) / len(points))
    control = CONTROLS[sink]
    harm, recovery = kill_at(harness, sink, random.Random(seed), points * times)
    controlled = [Point.AFTER_ACK if control == "acknowledge first" else Point.BEFORE_ACK] * 3
    control_harm, _ = kill_at(harness, sink, random.Random(seed), controlled, control)

    report(
        Report(
            f"kill -9 of the consumer: at {', '.join(points_of(sink))}, at any moment",
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
