"""Whether every consumer runs and goes on."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from redis import Redis, RedisCluster

from playhead.checks.check import Check
from playhead.checks.status import ConsumerStatus, Status, read_counts
from playhead.consumers.reading.keys import find_strays, find_wrong_keys
from playhead.streams.domains.discovery import installed
from playhead.streams.partitions import Partition


def check_status(
    client: "Redis | RedisCluster", status: Status, partitions: int | None = None, log: Path | None = None
) -> Iterator[Check]:
    """Look at the keys, each consumer on each partition, and what consumers that are not installed have parked."""
    counts = read_counts(client, partitions, log)
    readers = {
        Partition(stream, number): names
        for stream, names in installed().readers.items()
        for number in range(counts[stream])
    }
    wrong = [*find_wrong_keys(client, readers), *find_strays(client, counts)]
    for key in wrong:
        yield Check("redis keys", "fail", key.problem, key.advice)
    if not wrong:
        yield Check("redis keys", "ok", "each is as it should be")
    yield from check_consumers(status.consumers)
    for name, count in status.unknown.items():
        advice = f"install its domain, or see `playhead parked list {name}`"
        if any(group.name == name for group in status.unknown_groups):
            advice = f"install its domain, or retire it (`playhead consumers retire {name}`): trimming waits for it"
        yield Check(f"consumer {name}", "warn", f"{count} parked, and no domain that is installed here has it", advice)


def check_consumers(consumers: Sequence[ConsumerStatus]) -> Iterator[Check]:
    """Look at each consumer on each partition."""
    for one in consumers:
        name = f"consumer {one.name}" if one.kind == "clock" else f"consumer {one.name} {one.partition}"
        found = one.state if one.kind == "clock" else _found(one)
        if one.problem:
            found += f": {one.problem}"
        if one.state == "retired":
            yield Check(name, "ok", f"retired since {one.since}")
        elif one.state == "paused":
            yield Check(name, "warn", f"{found}, since {one.since}", f"`playhead consumers resume {one.name}`")
        elif one.state == "stopped" and one.lag_events != 0:
            advice = f"start it (`playhead run {one.name}`): nothing is trimmed until then"
            advice += f"; if nobody needs it, `playhead consumers retire {one.name}`"
            yield Check(name, "warn", found, advice)
        elif one.state == "stopped":
            yield Check(name, "warn", found, f"start it: `playhead run {one.name}`, or `playhead up` for all")
        elif one.problem:
            yield Check(name, "warn", found, "fix this; it retries automatically")
        elif one.parked:
            yield Check(name, "warn", found, f"see `playhead parked list {one.name}`")
        else:
            yield Check(name, "ok", found)


def _found(one: ConsumerStatus) -> str:
    return f"{one.state}, {'?' if one.lag_events is None else one.lag_events} behind, {one.parked} parked"
