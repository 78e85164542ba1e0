"""What a fault did to the promise: a row of docs/reliability-runs.md each, which docs/reliability.md sums up."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

_DOCS = Path(__file__).parents[2] / "docs"
PAGE, RUNS = _DOCS / "reliability.md", _DOCS / "reliability-runs.md"


class Harm(msgspec.Struct, frozen=True):
    """Events without an effect, effects that happened twice, and effects that are wrong or went back in time."""

    lost: int = 0
    duplicated: int = 0
    wrong: int = 0

    def __add__(self, other: "Harm") -> "Harm":
        return Harm(self.lost + other.lost, self.duplicated + other.duplicated, self.wrong + other.wrong)

    def __bool__(self) -> bool:
        return bool(self.lost or self.duplicated or self.wrong)

    def __str__(self) -> str:
        return f"{self.lost} lost, {self.duplicated} duplicated, {self.wrong} wrong"


class Report(msgspec.Struct, frozen=True):
    """A fault that was caused `runs` times; the control is the same harness without the safeguard it names."""

    fault: str
    sink: str
    promise: str
    runs: int
    harm: Harm
    control: str
    control_harm: Harm
    recovery: float | None
    """Seconds, at worst, until the effects went on; None if nothing had to recover."""
    seed: int
    server: str


SERVERS = {"valkey": "Valkey", "redis-7.0": "Redis 7.0", "redis-7.4": "Redis 7.4", "none": "no server"}
"""The servers that have a column; `none` is of faults that need no server."""

_RUNS_HEAD = """# Every run of every fault

A row a fault, sink and server: what [reliability](reliability.md) sums up. `make faults` writes both pages. Recovery is
the longest time from a fault until the effects were complete again, a lease of 0.3 s included; of dead processes all
leases but one in ten are ended at once. Servers beside Valkey and Redis 7.0 get a tenth of the runs. Each row is as its
last run left it.

| fault | sink | server | promise | runs | lost | duplicated | wrong | without the safeguard | recovery | seed |
|---|---|---|---|--:|--:|--:|--:|---|--:|--:|
"""

_HEAD = """# What Playhead promises, and how it is tested

Every appended event takes effect in every projection exactly once, in order per subject, or is visibly parked.

## Its limits

- It begins when `append` returns a position. Before that nothing is promised but that the same id may be sent again; of
  what a producer keeps in its spool, that it is on the disk of its machine.
- An id is remembered for one to two days. The same event after that is a second event.
- A position says that the server has the event. Redis must sync each write (`appendfsync always`), or a power loss
  takes the last second; a failover takes what no replica had, unless `durability="replicas:1"` waits for one.
- What Redis loses before the log writer read it is gone. It is counted and named if a later event of its partition,
  the group or a sink shows that it was there; of an emptied Redis that nobody had read, nothing does.
- The event log is the reference. If it is lost too, files and tables are what is left: [recovery](recovery.md) says
  what comes back after which loss.
- A worker runs its function at least once. Its outcome is one event, whatever the number of runs.
- Exactly once holds for sinks that keep their checkpoint with their effects, or write files whose names follow from the
  event. A projection of one's own that calls another service is called again after a crash.
- Disks are believed: after a sync that succeeds, the bytes are there. What rots later, `playhead log verify` finds.
- Whoever can write to Redis, the log's directory or the database can destroy what is there: [security](security.md).

## Its tests

Each row causes a fault on real servers, again and again, and then compares every effect with what was appended. A cell
has the number of runs; it would name each event lost, duplicated or wrong. The last column is the same harness
without the safeguard, which has to fail, or the row would prove nothing. `make test` runs a short form of all of it.
[Every run](reliability-runs.md) stands on a page of its own, with its seed and the time until recovery.

"""

_TAIL = """
## Beside the table

- The row of random sequences is a state machine: it appends, reads, crashes before or after a write or its
  acknowledgement, lets workers take, claim and finish entries, kills and starts Redis, trims, and empties Redis, in any
  order. After each sequence log, JSON files and the worker's outcomes must follow from what was acknowledged.
- Beside the bytes that follow their branches, the decoders get hundreds of hostile values each, which hypothesis
  makes after the shape of what they read.
- Names from outside, and links planted in the directories that are written, lead nowhere: [security](security.md).
- What `playhead verify` finds and repairs is tested on real processes, a flipped bit in a sealed segment included.
- Log, JSON files, Postgres and Redis are set back to an earlier time in every combination. Everything is whole again,
  or `status`, `doctor` and `verify` say the same number of events that the log lacks. Each reader of the log is tested
  with a segment, a manifest or a line missing.
- Commands, replays and parked events on a Redis Cluster, and behind a Sentinel through a failover, are tested without
  load; the rows of masters that die have the load.
"""


class Row(msgspec.Struct, frozen=True):
    """A line of the page of runs."""

    fault: str
    sink: str
    server: str
    promise: str
    runs: int
    harm: Harm
    safeguard: str
    control_harm: str


def render_runs(reports: Iterable[Report], page: str = "") -> str:
    """The page of every run; what stands on an older one and was not run again is kept."""
    rows = {tuple(line.split(" | ")[:3]): line for line in _lines(page)}
    for one in reports:
        line = (
            f"| {one.fault} | {one.sink} | {one.server} | {one.promise} | {one.runs} | {one.harm.lost} | "
            f"{one.harm.duplicated} | {one.harm.wrong} | {one.control}: {one.control_harm} | "
            f"{'' if one.recovery is None else f'{one.recovery:.1f} s'} | {one.seed} |\n"
        )
        rows[tuple(line.split(" | ")[:3])] = line
    return _RUNS_HEAD + "".join(rows[key] for key in sorted(rows))


def render(runs: str) -> str:
    """The page that sums up the page of every run: a row a fault and what is promised of it, a column a server."""
    rows = [_row(line) for line in _lines(runs)]
    servers = {name: title for name, title in SERVERS.items() if any(row.server == name for row in rows)}
    columns = ["fault", "sinks", "promise", *servers.values(), "without the safeguard"]
    table = f"| {' | '.join(columns)} |\n|---|---|---|{'--:|' * len(servers)}---|\n"
    for fault, promise in dict.fromkeys((row.fault, row.promise) for row in rows):
        here = [row for row in rows if (row.fault, row.promise) == (fault, promise)]
        sinks = ", ".join(dict.fromkeys(row.sink for row in here))
        cells = (_cell([row for row in here if row.server == name]) for name in servers)
        table += f"| {fault} | {sinks} | {promise} | {' | '.join(cells)} | {_control(here)} |\n"
    return _HEAD + table + _TAIL


def _lines(page: str) -> list[str]:
    return [line for line in page.splitlines(keepends=True) if line.startswith("| ") and " | seed |" not in line]


def _row(line: str) -> Row:
    fault, sink, server, promise, runs, lost, duplicated, wrong, control, *_ = line.removeprefix("| ").split(" | ")
    safeguard, _, harm = control.rpartition(": ")
    return Row(fault, sink, server, promise, int(runs), Harm(int(lost), int(duplicated), int(wrong)), safeguard, harm)


def _cell(rows: Sequence[Row]) -> str:
    harm = sum((row.harm for row in rows), Harm())
    runs = f"{sum(row.runs for row in rows):,}" if rows else ""
    return f"{runs}: **{harm}**" if harm else runs


def _control(rows: Sequence[Row]) -> str:
    """The safeguard, and what happened without it."""
    kinds = ("lost", "duplicated", "wrong")
    harm = {kind: sum(int(row.control_harm.split(", ")[n].split()[0]) for row in rows) for n, kind in enumerate(kinds)}
    said = ", ".join(f"{count:,} {kind}" for kind, count in harm.items() if count)
    return f"{' or '.join(dict.fromkeys(row.safeguard for row in rows))}: {said}"
