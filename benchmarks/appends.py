"""Appending: the producer against a pipeline, against its own script with less in it, and against redis-benchmark."""

import asyncio
import gc
import shutil
import subprocess
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from redis.asyncio import BlockingConnectionPool
from redis.asyncio import Redis as AsyncRedis

from benchmarks.contest import Section, Turn, hold, timed
from benchmarks.samples import LARGE, SMALL, in_batches, size_name
from benchmarks.stack import JOBS, Stack
from playhead.streams.appending.async_producer import AsyncProducer
from playhead.streams.appending.producer import Producer
from playhead.streams.entries import encode
from playhead.streams.events import Event
from playhead.streams.redis.connections import RedisAddress

_BATCH = 500
_TASKS, _CONNECTIONS = 1_000, 50
_CSV_NUMBERS = 7
"""Columns of redis-benchmark after the command, which may hold anything."""
_BARE = Path(__file__).with_name("bare.lua").read_text()
_OURS, _PIPELINE, _SCRIPT, _SERVER = "append", "redis-py pipeline", "script without either", "redis-benchmark"
_NOTE = """\
Batches of 500 to the embedded server, which syncs every write (`appendfsync always`). `append` checks each event, is
idempotent by event id and numbers the entries. The pipeline sends XADD with the same fields, ready made. *Script
without either* is `append` with a script that only adds. redis-benchmark, written in C, repeats one entry.
*1,000 tasks* append one event at a time each, by `AsyncProducer` and by `redis.asyncio` with 50 connections."""


def append(stack: Stack, quick: bool) -> Section:
    """Batches, one at a time, and one at a time from many tasks."""
    section = Section("Append", _NOTE)
    rounds = 1 if quick else 5
    for size, count in ((SMALL, 2_000 if quick else 20_000), (LARGE, 200 if quick else 1_000)):
        found = hold(size_name(size), rounds, _batched(stack, count, size))
        section.rates += found.rates()
        section.results.append(found.ratio("append / redis-py pipeline", _OURS, _PIPELINE, 1.3))
        section.results.append(found.ratio("append / script without idempotency and sequence", _OURS, _SCRIPT, 0.85))
        if _redis_benchmark():
            section.results.append(found.ratio("append / redis-benchmark", _OURS, _SERVER))
    single = hold(size_name(SMALL), rounds, _single(stack, 200 if quick else 3_000))
    section.rates += single.rates()
    section.results.append(single.ratio("append one at a time / redis-py", "append, one at a time", "redis-py XADD"))
    tasks = hold(size_name(SMALL), rounds, _tasks(stack, 2_000 if quick else 20_000))
    section.rates += tasks.rates()
    section.results.append(
        tasks.ratio("append from 1,000 tasks / redis-py", "append, 1,000 tasks", "XADD, 1,000 tasks")
    )
    stack.start_over()
    return section


def _batched(stack: Stack, count: int, size: int) -> Mapping[str, Callable[[], Turn]]:
    producer = Producer(stack.redis_url)
    bare = Producer(stack.redis_url)
    bare._appender._script = stack.client.register_script(_BARE)  # noqa: SLF001  # the contest is about what the script does

    def ours(with_: Producer) -> Turn:
        events = _fresh(stack, count, size)
        batches = in_batches(events, _BATCH)
        gc.freeze()
        with timed(count, server=stack.redis_pid) as turn:
            for batch in batches:
                with_.append_events(batch)
        return turn

    def pipeline() -> Turn:
        batches = in_batches([_fields(event) for event in _fresh(stack, count, size)], _BATCH)
        gc.freeze()
        with timed(count, server=stack.redis_pid) as turn:
            for batch in batches:
                pipe = stack.client.pipeline(transaction=False)
                for fields in batch:
                    pipe.xadd(JOBS.key, fields)
                pipe.execute()
        return turn

    def server() -> Turn:
        entry = [part for pair in _fields(_fresh(stack, 1, size)[0]).items() for part in pair]
        with timed(count, server=stack.redis_pid) as turn:
            seconds = _run_redis_benchmark(stack, count, entry)
        turn.seconds, turn.cpu = seconds, 0.0
        return turn

    contestants = {_OURS: lambda: ours(producer), _SCRIPT: lambda: ours(bare), _PIPELINE: pipeline}
    return contestants | ({_SERVER: server} if _redis_benchmark() else {})


def _single(stack: Stack, count: int) -> Mapping[str, Callable[[], Turn]]:
    producer = Producer(stack.redis_url)

    def ours() -> Turn:
        events = _fresh(stack, count, SMALL)
        with timed(count, server=stack.redis_pid) as turn:
            for event in events:
                producer.append_events([event])
        return turn

    def theirs() -> Turn:
        entries = [_fields(event) for event in _fresh(stack, count, SMALL)]
        with timed(count, server=stack.redis_pid) as turn:
            for fields in entries:
                stack.client.xadd(JOBS.key, fields)
        return turn

    return {"append, one at a time": ours, "redis-py XADD": theirs}


def _tasks(stack: Stack, count: int) -> Mapping[str, Callable[[], Turn]]:
    def turn_of(append: Callable[[Event], Awaitable[object]], close: Callable[[], Awaitable[object]]) -> Turn:
        async def task(events: Iterator[Event]) -> None:
            for event in events:  # shared by all tasks
                await append(event)

        async def run() -> Turn:
            events = iter(_fresh(stack, count, SMALL))
            with timed(count, server=stack.redis_pid) as turn:
                await asyncio.gather(*(task(events) for _ in range(_TASKS)))
            await close()
            return turn

        return asyncio.run(run())

    def ours() -> Turn:
        producer = AsyncProducer(stack.redis_url)
        return turn_of(lambda event: producer.append_events([event]), producer.aclose)

    def theirs() -> Turn:
        pool = BlockingConnectionPool.from_url(stack.redis_url, max_connections=_CONNECTIONS)
        client = AsyncRedis.from_pool(pool)
        return turn_of(lambda event: client.xadd(JOBS.key, cast("dict[Any, Any]", _fields(event))), client.aclose)

    return {"append, 1,000 tasks": ours, "XADD, 1,000 tasks": theirs}


def _fresh(stack: Stack, count: int, size: int) -> list[Event]:
    gc.unfreeze()
    stack.empty_stream() if stack.client.exists(JOBS.key) else None
    return stack.samples.events(count, size)


def _fields(event: Event) -> dict[str | bytes, str | bytes]:
    flat = encode(event)
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _redis_benchmark() -> str | None:
    return shutil.which("valkey-benchmark") or shutil.which("redis-benchmark")


def _run_redis_benchmark(stack: Stack, count: int, entry: list[str | bytes]) -> float:
    program = _redis_benchmark()
    assert program is not None
    server = RedisAddress.parse(stack.redis_url).options
    command = [program, "-s", server["path"], "-a", server["password"], "-n", str(count)]
    command += ["-c", "1", "-P", str(_BATCH), "--csv", "XADD", JOBS.key, "*", *entry]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
    last = done.stdout.decode("utf-8", "replace").strip().splitlines()[-1]
    return count / float(last.rsplit('","', _CSV_NUMBERS)[1])
