"""The consumers, as real processes that work off a backlog, each against its sink's limit."""

from collections.abc import Callable
from pathlib import Path

from benchmarks.contest import Contest, Section, Turn
from benchmarks.samples import LARGE, SMALL, size_name
from benchmarks.stack import JOBS, Consumer, Stack, fresh_directory, limit

_ROUNDS = 3
_COPY_BATCH = 500


def log(stack: Stack, quick: bool) -> Section:
    """The log writer against a loop that reads and acknowledges."""
    section = Section(
        "Log writer",
        "`playhead run log` works off a backlog; the limit reads the same entries with XREADGROUP, 500 at a time, "
        "acknowledges them with XACK and does not look at them.",
    )
    with Consumer(stack, "log") as consumer:
        for size, count in ((SMALL, 2_000 if quick else 20_000), (LARGE, 200 if quick else 1_000)):

            def ours(count: int = count, size: int = size) -> Turn:
                return consumer.work_off(count, size, server=stack.redis_pid)

            def theirs(count: int = count) -> Turn:
                return limit("read-and-acknowledge", stack.redis_url, JOBS.key, consumer.since, count, stack.redis_pid)

            found = _hold(stack, size, quick, {"playhead run log": ours, "XREADGROUP and XACK": theirs})
            section.rates += found.rates()
            section.results.append(
                found.ratio("log writer / read and acknowledge", "playhead run log", "XREADGROUP and XACK", 0.6)
            )
    stack.start_over()
    return section


def jobs(stack: Stack, quick: bool) -> Section:
    """The jobs projection against bare COPY."""
    section = Section(
        "Projection `jobs`",
        "`playhead run jobs` works off a backlog of new jobs; the limit is COPY of the same rows, ready made, into a "
        f"table with the same columns and primary key: {_COPY_BATCH} rows a transaction, and all in one.",
    )
    with Consumer(stack, "jobs") as consumer:
        for size, count in ((SMALL, 2_000 if quick else 20_000), (LARGE, 200 if quick else 1_000)):

            def ours(count: int = count, size: int = size) -> Turn:
                return consumer.work_off(count, size, server=stack.postgres_pid)

            def theirs(batch: int = _COPY_BATCH) -> Turn:
                return limit("copy-rows", stack.database_url, consumer.after, batch, stack.postgres_pid)

            found = _hold(
                stack,
                size,
                quick,
                {"playhead run jobs": ours, "COPY, 500 a transaction": theirs, "COPY, all in one": lambda: theirs(0)},
            )
            section.rates += found.rates()
            section.results.append(
                found.ratio("jobs / bare COPY, 500 a transaction", "playhead run jobs", "COPY, 500 a transaction", 0.75)
            )
            section.results.append(
                found.ratio("jobs / one COPY of everything", "playhead run jobs", "COPY, all in one")
            )
    stack.start_over()
    return section


def json_files(stack: Stack, quick: bool) -> Section:
    """The JSON files against creating the same files."""
    section = Section(
        "Projection `json-files`",
        "`playhead run json-files` works off a backlog of new jobs until the summary of the day counts them all; every "
        "file is synced. The limit creates the same files, ready made, and syncs nothing. *Write, synced* shows what "
        "the disk can do: the same bytes in one file, one after the other, synced 500 events at a time.",
    )
    daily = stack.data_dir / "outputs" / "daily"
    with Consumer(stack, "json-files") as consumer:
        for size, count in ((SMALL, 1_000 if quick else 10_000), (LARGE, 200 if quick else 1_500)):

            def ours(count: int = count, size: int = size) -> Turn:
                return consumer.work_off(
                    count, size, server=stack.redis_pid, done=lambda: _total(daily) == stack.samples.made
                )

            def theirs(count: int = count) -> Turn:
                return limit("create-files", str(daily), str(fresh_directory(stack.data_dir.parent, "files")), count)

            def disk(count: int = count) -> Turn:
                return limit("write-synced", str(daily), str(fresh_directory(stack.data_dir.parent, "files")), count)

            contestants = {"playhead run json-files": ours, "create, unsynced": theirs, "write, synced": disk}
            found = _hold(stack, size, quick, contestants)
            section.rates += found.rates()
            section.results.append(
                found.ratio("json-files / unsynced creation", "playhead run json-files", "create, unsynced", 0.6)
            )
            section.results.append(
                found.ratio("json-files / synced writing", "playhead run json-files", "write, synced")
            )
    stack.start_over()
    return section


def day(stack: Stack, quick: bool) -> Section:
    """A day of a recorder."""
    count = 300 if quick else 2_737
    section = Section(
        "A recorder's day",
        f"{count:,} results of 53 KB on one day. `playhead run json-files` as above, everything synced; the recorder "
        "writes each file as its job ends and rewrites the day's summary, and syncs nothing.",
    )
    daily = stack.data_dir / "outputs" / "daily"
    with Consumer(stack, "json-files") as consumer:

        def ours() -> Turn:
            return consumer.work_off(
                count, 53_000, server=stack.redis_pid, done=lambda: _total(daily) == stack.samples.made
            )

        def theirs() -> Turn:
            return limit("record", str(daily), str(fresh_directory(stack.data_dir.parent, "recorder")), count)

        found = _hold(
            stack, 53_000, True, {"playhead run json-files": ours, "recorder": theirs}, rounds=1 if quick else 2
        )
        section.rates += found.rates()
        section.results.append(
            found.ratio("the day / recorder", "playhead run json-files", "recorder", None if quick else 20)
        )
    stack.start_over()
    return section


def _hold(stack: Stack, size: int, quick: bool, contestants: dict[str, Callable[[], Turn]], rounds: int = 0) -> Contest:
    """Ours goes first in every round: it makes what the limits then do again."""
    names = list(contestants)
    found: list[dict[str, Turn]] = []
    for _ in range(rounds or (1 if quick else _ROUNDS)):
        found.append({name: contestants[name]() for name in names})
        stack.empty_stream()
    return Contest(size_name(size), found)


def _total(daily: Path) -> int:
    """How many jobs the newest summaries count."""
    total = 0
    for summary in daily.glob("*/summary.json"):
        with summary.open("rb") as file:
            head = file.read(100)
        total += int(head.partition(b'"total_jobs": ')[2].partition(b",")[0])
    return total
