"""What a fault did to the promise: a row of docs/reliability.md each."""

from collections.abc import Iterable

import msgspec


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


_HEAD = """# What Playhead promises, and how it is tested

Every appended event takes effect in every projection exactly once, in order per subject, or is visibly parked.

Each row causes a fault on real servers, again and again, and then compares every effect with what was appended. The
control is the same harness without the safeguard; it has to fail, or the row would prove nothing. `make faults` runs
all of it and writes this page; `make test` runs a short form. Recovery is the longest time from a fault until the
effects were complete again, a lease of 0.3 s included; of dead processes all leases but one in ten are ended at once.
Servers beside Valkey and Redis 7.0 get a tenth of the runs. Each row is as its last run left it.

"""

_TITLES = """\
| fault | sink | server | promise | runs | lost | duplicated | wrong | without the safeguard | recovery | seed |
|---|---|---|---|--:|--:|--:|--:|---|--:|--:|
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


def render(reports: Iterable[Report], page: str = "") -> str:
    """The page; what stands on an older one and was not run again is kept."""
    rows = {tuple(line.split(" | ")[:3]): line for line in page.splitlines(keepends=True) if line.startswith("| ")}
    rows.pop(tuple(_TITLES.split(" | ")[:3]), None)
    for one in reports:
        line = (
            f"| {one.fault} | {one.sink} | {one.server} | {one.promise} | {one.runs} | {one.harm.lost} | "
            f"{one.harm.duplicated} | {one.harm.wrong} | {one.control}: {one.control_harm} | "
            f"{'' if one.recovery is None else f'{one.recovery:.1f} s'} | {one.seed} |\n"
        )
        rows[tuple(line.split(" | ")[:3])] = line
    return _HEAD + _TITLES + "".join(rows[key] for key in sorted(rows)) + _TAIL
