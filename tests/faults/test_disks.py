"""Disks that are full, that do not sync, and whose power fails."""

import random
import shutil
import signal

import msgspec
import pytest

from playhead.streams.appending.producer import Producer
from playhead.streams.names import reports_key
from playhead.streams.partitions import Partition
from playhead.streams.positions import Position
from tests.faults.effects import KINDS
from tests.faults.reports import Harm, Report
from tests.support.disks import CrashableDisk, small_disk, syncs_fail
from tests.support.events import job
from tests.support.pipeline import JOBS
from tests.support.servers import make_server, plain_client

SINKS = {"log": "eventlog", "json-files": "outputs", "archives": "archives"}
"""Sinks that write files, and where."""
NO_SYNC = "no fsync"
LARGE = "x" * 4000


@pytest.mark.parametrize("sink", SINKS)
def test_a_full_disk(harness, report, seed, sink):
    harm = fill(harness, sink)
    control_harm = fill(harness, sink, "no checkpoint")

    report(
        Report(
            "a full disk, and room again",
            sink,
            "the consumer waits, then goes on where it was",
            1,
            harm,
            "no undo of half a batch",
            control_harm,
            None,
            seed,
            harness.name,
        )
    )


def fill(harness, sink, control=None) -> Harm:
    pipeline = harness.begin()
    events = [KINDS[sink].make(number, str(number % 300)) for number in range(800)]
    if control:
        pipeline.directory /= "disk"
    disk = pipeline.directory if control else pipeline.directory / SINKS[sink]
    with small_disk(disk, 1) as make_room:
        (disk / "ballast").write_bytes(bytes((1016 if control else 900) << 10))
        pipeline.append(*events)
        pid = harness.spawn(sink, batch=40, control=control)
        pipeline.wait_until(lambda: is_in_trouble(pipeline, sink))
        make_room()
        harness.caught_up(sink)
        assert harness.finish(pid, signal.SIGTERM) == 0
        return harness.audit(sink, events, naive=control is not None)


def is_in_trouble(pipeline, sink) -> bool:
    """Whether its disk keeps it from applying; or from opening, if it was slow and lost its lease meanwhile."""
    report = pipeline.redis.hget(reports_key(Partition(KINDS[sink].stream, 0).key), sink)
    return report is not None and msgspec.json.decode(report)["state"] in {"retrying", "not ready"}


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.parametrize("sink", SINKS)
def test_fsync_fails(harness, report, count, seed, sink):
    runs = count(1, 12)
    harm = Harm()
    for number in range(runs):
        harm += fail_to_sync(harness, sink, 1 + number)
    control_harm = fail_to_sync(harness, sink, 1, NO_SYNC)

    report(
        Report(
            "fsync fails with EIO, from the first time on, the second, ...",
            sink,
            "nothing is acknowledged that may not be on disk; "
            + ("the process ends" if sink == "log" else "it is written again"),
            runs,
            harm,
            NO_SYNC,
            control_harm,
            None,
            seed,
            harness.name,
        )
    )


def fail_to_sync(harness, sink, number, control=None) -> Harm:
    """Events that were acknowledged beyond the last sync that went well, and what is wrong once syncs go well again."""
    pipeline = harness.begin()
    key = Partition(KINDS[sink].stream, 0).key
    events = [KINDS[sink].make(number, str(number)) for number in range(150)]
    pid = harness.spawn(sink, control=control, batch=5)
    pipeline.wait_until(lambda: harness.is_held(sink))
    with syncs_fail(pid, number):
        pipeline.append(*events)
        if control:
            harness.caught_up(sink)
            return Harm(lost=acknowledged(pipeline, key, sink))
        if sink == "log":
            assert harness.fork_server.wait(pid) == 1
            harness.forget(pid)
        else:
            pipeline.wait_until(lambda: is_in_trouble(pipeline, sink))
        # A batch takes one sync at least.
        unsafe = max(0, acknowledged(pipeline, key, sink) - 5 * (number - 1))
    if sink == "log":
        harness.drain(sink)
    else:
        harness.caught_up(sink)
        assert harness.finish(pid, signal.SIGTERM) == 0
    return Harm(lost=unsafe) + harness.audit(sink, events)


def acknowledged(pipeline, key, sink) -> int:
    groups = {group["name"].decode(): group for group in pipeline.redis.xinfo_groups(key)}
    return len(pipeline.redis.xrange(key, "-", groups[sink]["last-delivered-id"])) if sink in groups else 0


@pytest.mark.parametrize("sink", SINKS)
def test_power_fails_under_a_consumer(harness, report, count, seed, sink):
    runs = count(2, 40)
    harm = lose_power(harness, sink, random.Random(seed), runs)
    control_harm = lose_power(harness, sink, random.Random(seed), 1, NO_SYNC)

    report(
        Report(
            "power loss: the disk as it was synced, the stream trimmed up to what was acknowledged",
            sink,
            "what was acknowledged is there, the rest comes again",
            runs,
            harm,
            NO_SYNC,
            control_harm,
            None,
            seed,
            harness.name,
        )
    )


def lose_power(harness, sink, chance, runs, control=None) -> Harm:
    pipeline = harness.begin()
    key = Partition(KINDS[sink].stream, 0).key
    pipeline.directory /= "disk"
    disk = CrashableDisk(pipeline.directory)
    events = []
    try:
        for _ in range(runs):
            pid = harness.spawn(sink, control=control, segment_bytes=20_000)
            before = len(events)
            for _ in range(6):
                more = [KINDS[sink].make(len(events) + n, str(chance.randrange(400))) for n in range(20)]
                pipeline.append(*more)
                events += more
            wanted = before + chance.randrange(20, 110)
            pipeline.wait_until(lambda wanted=wanted: acknowledged_ever(pipeline, key, sink) >= wanted)
            harness.finish(pid, signal.SIGKILL)
            trim(pipeline, key, sink)
            disk.fail()
            harness.expire(sink)
        harness.drain(sink, control=control, segment_bytes=20_000)
        return harness.audit(sink, events)
    finally:
        harness.end_processes()
        disk.close()


def acknowledged_ever(pipeline, key, sink) -> int:
    """As `acknowledged`, with the entries that were trimmed."""
    trimmed = pipeline.redis.xinfo_stream(key)
    return trimmed["entries-added"] - trimmed["length"] + acknowledged(pipeline, key, sink)


def trim(pipeline, key, sink) -> None:
    """Up to where the group is, as the product does."""
    groups = {group["name"].decode(): group for group in pipeline.redis.xinfo_groups(key)}
    pipeline.redis.xtrim(key, minid=str(Position.parse(groups[sink]["last-delivered-id"])), approximate=False)


def test_power_fails_under_redis(harness, report, count, seed, tmp_path):
    runs = count(2, 50)
    name = harness.name
    harm = lose_power_of_redis(name, tmp_path / "real", runs)
    control_harm = lose_power_of_redis(name, tmp_path / "naive", 1, appendfsync="no")

    report(
        Report(
            "power loss under Redis: the disk as it was synced",
            "stream",
            "what append returned is there, once and in order",
            runs,
            harm,
            "appendfsync no",
            control_harm,
            None,
            seed,
            name,
        )
    )


def lose_power_of_redis(name, directory, runs, appendfsync="always") -> Harm:
    appended: list[str] = []
    disk = CrashableDisk(directory, 128)
    server = make_server(name, directory)
    try:
        for _ in range(runs):
            server.start()
            with plain_client(server.url) as client:
                client.config_set("appendfsync", appendfsync)
            with Producer(server.url, timeout=1) as producer:
                for _ in range(10):
                    more = [job(len(appended) + number, result=LARGE) for number in range(5)]
                    producer.append_events(more)
                    appended += [event.id for event in more]
            server.kill()
            server.stop()
            disk.fail()
        server.start()
        with plain_client(server.url) as client:
            found = [entry[b"ce_id"].decode() for _, entry in client.xrange(JOBS.key)]
    finally:
        server.stop()
        disk.close()
    misplaced = sum(here != there for here, there in zip(found, sorted(found, key=place), strict=True))
    return Harm(len(set(appended) - set(found)), len(found) - len(set(found)), misplaced)


def place(event_id: str) -> int:
    return int(event_id[1:])
