"""From the call of append to the effect in a sink, at an even rate; and what starting the program costs."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from statistics import median, quantiles

import psycopg

from benchmarks.contest import Result, Section
from benchmarks.stack import JOBS, Consumer, Stack
from playhead.eventlog.segments import list_segments, partition_directory

_RATE = 500
_PAUSE = 0.0003
_SMALL = "1.5 KB"


def latency(stack: Stack, quick: bool) -> Section:
    """Append to effect, with every consumer running, as in `playhead up`."""
    seconds = 3 if quick else 10
    section = Section(
        "Append to effect",
        f"{_RATE} events/s, each appended by itself and awaited, for {seconds} s, while the processes of all three "
        "consumers run. The clock starts before the call of `append` and stops when an outside observer, who looks "
        "every 0.3 ms, finds the line in the log, or the checkpoint committed in Postgres.",
    )
    with Consumer(stack, "log"), Consumer(stack, "json-files"), Consumer(stack, "jobs"):
        for sink, watch, aim in (("log", _watch_log, 10.0), ("Postgres", _watch_postgres, 25.0)):
            delays = sorted(_measure(stack, seconds, watch))
            percentiles = quantiles(delays, n=100, method="inclusive")
            section.results += [
                Result(f"append to {sink}, p50", _SMALL, percentiles[49] * 1000, "ms"),
                Result(f"append to {sink}, p99", _SMALL, percentiles[98] * 1000, "ms", aim, at_most=True),
                Result(f"append to {sink}, worst", _SMALL, delays[-1] * 1000, "ms"),
            ]
    stack.start_over()
    return section


def startup(stack: Stack, quick: bool) -> Section:
    """CPU time of commands that do next to nothing."""
    section = Section("Start-up", "CPU time of a whole process, user and system; median.")
    commands = {
        "playhead --help": ("--help",),
        "playhead status": ("status", "--json"),
        "playhead run --help": ("run", "--help"),
    }
    for name, command in commands.items():
        spent = [_cpu(stack, command) for _ in range(1 if quick else 5)]
        section.results.append(Result(name, "", median(spent), "s CPU", 0.4, at_most=True))
    return section


def _measure(stack: Stack, seconds: int, watch: Callable[[Stack, int], list[tuple[float, int]]]) -> list[float]:
    command = [sys.executable, "-m", "benchmarks.limits", "produce", stack.redis_url, str(_RATE), str(seconds)]
    command.append(str(stack.samples.made))
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        seen = watch(stack, _RATE * seconds)
        appended = json.loads(process.stdout.read())
    stack.samples.made += len(appended)
    delays: list[float] = []
    rest = iter(seen)
    moment, count = next(rest)
    for number, (before, _) in enumerate(appended, 1):
        while count < number:
            moment, count = next(rest)
        delays.append(moment - before)
    return delays


def _watch_log(stack: Stack, count: int) -> list[tuple[float, int]]:
    """When how many lines were in the active segment."""
    segment = list_segments(partition_directory(stack.data_dir / "eventlog", JOBS))[-1]
    seen: list[tuple[float, int]] = []
    lines = 0
    with segment.plain.open("rb", buffering=0) as file:
        file.seek(0, os.SEEK_END)
        while lines < count:
            if found := file.read(1 << 20):
                lines += found.count(b"\n")
                seen.append((time.monotonic(), lines))
            else:
                time.sleep(_PAUSE)
    return seen


def _watch_postgres(stack: Stack, count: int) -> list[tuple[float, int]]:
    """When how many rows of the producer were committed."""
    seen: list[tuple[float, int]] = []
    rows, last = 0, stack.samples.last_job_id
    with psycopg.connect(stack.database_url, autocommit=True) as connection:
        cursor = connection.cursor()
        while rows < count:
            # Only the new rows: counting all of them each time would keep Postgres busier than the projection does.
            cursor.execute("SELECT job_id FROM playhead.jobs WHERE job_id > %s ORDER BY job_id", [last], prepare=True)
            if found := cursor.fetchall():
                rows, last = rows + len(found), found[-1][0]
                seen.append((time.monotonic(), rows))
            time.sleep(_PAUSE)
    return seen


def _cpu(stack: Stack, command: tuple[str, ...]) -> float:
    process = subprocess.Popen(
        [sys.executable, "-m", "playhead", *command], env=stack.environment, stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_utime + usage.ru_stime
