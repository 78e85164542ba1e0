"""The event log: reading it, replaying it, and how much memory that takes."""

import gc
import io
import subprocess
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import zstandard

from benchmarks.contest import Contest, Rate, Result, Section, Turn, hold, timed
from benchmarks.samples import LARGE, SMALL, Samples, in_batches, size_name
from benchmarks.stack import JOBS, Consumer, Ended, Stack, fresh_directory, playhead
from playhead.eventlog.reader import read
from playhead.eventlog.segments import list_segments, partition_directory
from playhead.eventlog.writer import SEGMENT_BYTES, LogWriter
from playhead.streams.appending.producer import Producer
from playhead.streams.events import Recorded, format_time
from playhead.streams.positions import Position
from playhead.streams.sinks import Batch, Source

_BATCH = 500
_FIRST_MS = 1_754_541_721_000
_MEBIBYTE = 1024 * 1024
_LINE_OVERHEAD = 400
_FLAT = 1.25
"""Peak memory over a log 15 times as long may be this many times as high, and count as flat."""
_COMMANDS = {
    "log verify": ("log", "verify"),
    "log cat": ("log", "cat"),
    "replay --log": ("replay", "--log", "--to", "jobs"),
}


class Peak(msgspec.Struct):
    """What `benchmarks.peak` prints."""

    code: int
    seconds: float
    cpu: float
    mebibytes: float


def log_read(stack: Stack, quick: bool) -> Section:
    """Reading the log against decoding its lines."""
    section = Section(
        "Log read",
        "`playhead.eventlog.reader.read`, which checks every checksum and position and gives events, against reading "
        "the same lines and decoding each with msgspec. Sealed segments are zstd.",
    )
    for size, count in ((SMALL, 5_000 if quick else 50_000), (LARGE, 300 if quick else 3_000)):
        for kind, segment_bytes in (("active", 1 << 40), ("sealed", 1)):
            root = fresh_directory(stack.data_dir.parent, "log")
            write_log(root, count, size, segment_bytes=segment_bytes)

            def ours(root: Path = root) -> Turn:
                gc.freeze()
                with timed(0) as turn:
                    turn.events = sum(1 for _ in read(root))
                return turn

            def theirs(root: Path = root) -> Turn:
                gc.freeze()
                with timed(0) as turn:
                    for line in _lines(root):
                        msgspec.json.decode(line)
                        turn.events += 1
                return turn

            name = f"read, {kind}"
            found = hold(size_name(size), 1 if quick else 3, {name: ours, f"decode lines, {kind}": theirs})
            section.rates += found.rates()
            section.results.append(found.ratio(f"log read / decode lines, {kind}", name, f"decode lines, {kind}"))
    return section


def replay(stack: Stack, quick: bool) -> Section:
    """Replay against the append of the same events, both timed by the ids that the server gave."""
    section = Section(
        "Replay",
        "`playhead replay --log` reads the log and appends to the private stream of its run, while its reader is held; "
        "*append* is `append` of the same events from memory. Both are timed from the first entry to the last by the "
        "ids that the server gave them.",
    )
    for size, count in ((SMALL, 3_000 if quick else 20_000), (LARGE, 300 if quick else 1_000)):
        rounds: list[dict[str, Turn]] = []
        with Consumer(stack, "log") as log, Consumer(stack, "jobs") as jobs:
            for _ in range(1 if quick else 3):
                stack.empty_stream()
                since = format_time(datetime.now(UTC))
                with log.held(), jobs.held():
                    appended = _append(stack, count, size)
                log.wait_until_caught_up()
                jobs.wait_until_caught_up()
                rounds.append({"replay from the log": _replay(stack, jobs, count, since), "append": appended})
        found = Contest(size_name(size), rounds)
        section.rates += found.rates()
        section.results.append(found.ratio("replay from the log / append", "replay from the log", "append", 0.7))
    stack.start_over()
    return section


def memory(stack: Stack, quick: bool) -> Section:
    """Peak memory of the commands that read the whole log, at two sizes of it."""
    sizes = (16, 64) if quick else (64, 1_000)
    section = Section(
        "Memory",
        f"Peak resident memory of a command over a log of {sizes[0]} MB and one of {sizes[1]} MB of JSON lines, in "
        "events of 1.5 KB.",
    )
    roots: dict[int, tuple[Path, int]] = {}
    for megabytes in sizes:
        root = fresh_directory(stack.data_dir.parent, "log")
        count = megabytes * 1_000_000 // (SMALL + _LINE_OVERHEAD)
        write_log(root, count, SMALL)
        roots[megabytes] = root, count
    with Consumer(stack, "jobs"):
        for name, command in _COMMANDS.items():
            peaks: list[float] = []
            for megabytes, (root, count) in roots.items():
                peak, turn = _peak(stack, command, root, count)
                peaks.append(peak)
                cpu = turn.cpu / turn.events * 1e6
                section.rates.append(Rate(f"{name}, {megabytes} MB", size_name(SMALL), turn.rate, cpu, 0.0))
                section.results.append(Result(f"{name}, {megabytes} MB", size_name(SMALL), peak, "MiB"))
            growth = peaks[1] / peaks[0]
            section.results.append(Result(f"{name}: growth", size_name(SMALL), growth, "x", _FLAT, at_most=True))
    stack.start_over()
    return section


def write_log(root: Path, count: int, size: int, *, segment_bytes: int = SEGMENT_BYTES) -> None:
    """Make an event log without Redis."""
    writer = LogWriter(root, segment_bytes=segment_bytes)
    writer.open(JOBS, 1)
    samples = Samples()
    number = 0
    while number < count:
        events = samples.events(min(500, count - number), size)
        recorded = [Recorded(event, Position(_FIRST_MS + n, 0), n + 1) for n, event in enumerate(events, number)]
        writer.apply(Batch(Source(JOBS), recorded, recorded[-1].position))
        number += len(events)
    writer.close()


def _lines(root: Path) -> Iterator[bytes]:
    for segment in list_segments(partition_directory(root, JOBS)):
        if segment.is_active:
            with segment.plain.open("rb") as file:
                yield from file
        else:
            with segment.sealed.open("rb") as file:
                stream = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
                yield from io.BufferedReader(stream, _MEBIBYTE)


def _append(stack: Stack, count: int, size: int) -> Turn:
    batches = in_batches(stack.samples.events(count, size), _BATCH)
    with Producer(stack.redis_url) as producer, timed(count, server=stack.redis_pid) as turn:
        for batch in batches:
            producer.append_events(batch)
    _time_by_ids(stack, JOBS.key, turn)
    return turn


def _replay(stack: Stack, reader: Consumer, count: int, since: str) -> Turn:
    with reader.held():
        process = playhead(stack, "replay", "--log", "--to", "jobs", "--since", since, stdout=subprocess.DEVNULL)
        stack.wait_until(lambda: _replayed(stack) is not None, process)
        with timed(count, client=process.pid, server=stack.redis_pid) as turn:
            stack.wait_until(lambda: (key := _replayed(stack)) is not None and stack.client.xlen(key) >= count, process)
        key = _replayed(stack)
        assert key is not None
        _time_by_ids(stack, key, turn)
    if process.wait(120) != 0:
        raise Ended(process, stack.log)
    return turn


def _replayed(stack: Stack) -> str | None:
    return next((k.decode() for k in stack.client.scan_iter(f"{JOBS.key}:replay:*", _type="stream", count=1000)), None)


def _time_by_ids(stack: Stack, key: str, turn: Turn) -> None:
    about = stack.client.xinfo_stream(key)
    first, last = (int(about[name][0].partition(b"-")[0]) for name in ("first-entry", "last-entry"))
    turn.seconds = max(1, last - first) / 1000


def _peak(stack: Stack, command: Sequence[str], root: Path, count: int) -> tuple[float, Turn]:
    """Peak MiB of a command, and its time."""
    with stack.log.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.peak", sys.executable, "-m", "playhead", *command],
            env={**stack.environment, "EVENT_LOG_DIR": str(root)},
            stdout=subprocess.PIPE,
            stderr=log,
        )
        output, _ = process.communicate()
    found = msgspec.json.decode(output, type=Peak) if process.returncode == 0 else None
    if found is None or found.code != 0:
        raise Ended(process, stack.log)
    return found.mebibytes, Turn(count, found.seconds, found.cpu)
