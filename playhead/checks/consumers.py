"""Whether every consumer runs and goes on."""

from collections.abc import Iterator, Sequence

from playhead.checks.check import Check
from playhead.commands.status import ConsumerStatus


def check_consumers(consumers: Sequence[ConsumerStatus]) -> Iterator[Check]:
    """Look at each consumer on each partition."""
    for one in consumers:
        name = f"consumer {one.name} {one.partition}"
        found = f"{one.state}, {'?' if one.lag_events is None else one.lag_events} behind, {one.parked} parked"
        if one.problem:
            found += f": {one.problem}"
        if one.state == "stopped" and one.lag_events != 0:
            yield Check(name, "warn", found, f"start it (`playhead run {one.name}`): nothing is trimmed until then")
        elif one.state == "stopped":
            yield Check(name, "warn", found, f"start it: `playhead run {one.name}`, or `playhead up` for all")
        elif one.problem:
            yield Check(name, "warn", found, "fix this; it retries automatically")
        elif one.parked:
            yield Check(name, "warn", found, f"see `playhead parked list {one.name}`")
        else:
            yield Check(name, "ok", found)
