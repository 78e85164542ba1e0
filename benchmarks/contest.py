"""How a contest is held: contestants take turns, several rounds, and ratios are taken within a round."""

import os
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median

import msgspec

_TICK = os.sysconf("SC_CLK_TCK")
_AFTER_COMMAND, _STATE_TO_UTIME = ") ", 11


class Turn(msgspec.Struct):
    """One measurement: events, wall-clock seconds, and CPU seconds of the client and of the server it used."""

    events: int
    seconds: float = 0.0
    cpu: float = 0.0
    server_cpu: float = 0.0

    @property
    def rate(self) -> float:
        return self.events / self.seconds


class Rate(msgspec.Struct):
    """A row of a table: medians over the rounds, CPU in microseconds an event."""

    name: str
    size: str
    per_second: float
    cpu: float
    server_cpu: float


class Result(msgspec.Struct):
    """A measured value beside its aim; `unit` is what stands behind the number."""

    name: str
    size: str
    value: float
    unit: str
    aim: float | None = None
    at_most: bool = False

    @property
    def met(self) -> bool | None:
        if self.aim is None:
            return None
        return self.value < self.aim if self.at_most else self.value >= self.aim


class Section(msgspec.Struct):
    """What one benchmark found."""

    title: str
    note: str
    rates: list[Rate] = []
    results: list[Result] = []


class Contest:
    """The turns of every contestant, in rounds."""

    def __init__(self, size: str, rounds: Sequence[Mapping[str, Turn]]) -> None:
        self._size, self._rounds = size, rounds

    def ratio(self, name: str, ours: str, theirs: str, aim: float | None = None) -> Result:
        """The median of the rounds' ratios of two rates."""
        return Result(name, self._size, median(r[ours].rate / r[theirs].rate for r in self._rounds), "x", aim)

    def rates(self) -> list[Rate]:
        """Every contestant's medians."""
        return [self._rate(name) for name in self._rounds[0]]

    def _rate(self, name: str) -> Rate:
        turns = [each[name] for each in self._rounds]
        return Rate(
            name,
            self._size,
            median(turn.rate for turn in turns),
            median(turn.cpu / turn.events * 1e6 for turn in turns),
            median(turn.server_cpu / turn.events * 1e6 for turn in turns),
        )


def hold(size: str, rounds: int, contestants: Mapping[str, Callable[[], Turn]]) -> Contest:
    """Let the contestants take turns; every round begins with another one."""
    names = list(contestants)
    found: list[dict[str, Turn]] = []
    for number in range(rounds):
        order = names[number % len(names) :] + names[: number % len(names)]
        turns = {name: contestants[name]() for name in order}
        found.append({name: turns[name] for name in names})
    return Contest(size, found)


def cpu_of(pid: int) -> float:
    """CPU seconds of a process and its children, dead and alive."""
    own = _cpu_fields(pid)
    if own is None:
        return 0.0
    alive: list[int] = []
    with suppress(FileNotFoundError, ProcessLookupError):
        alive = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return (sum(own) + sum(sum((_cpu_fields(child) or ())[:2]) for child in alive)) / _TICK


@contextmanager
def timed(
    events: int, *, client: int | Sequence[int] | None = None, server: int | None = None
) -> Generator[Turn, None, None]:
    """Time a block; the client is this process unless another is named, or several."""
    turn = Turn(events)
    clients = [client] if isinstance(client, int) else client
    server_before = cpu_of(server) if server else 0.0
    cpu_before = time.process_time() if clients is None else sum(map(cpu_of, clients))
    started = time.perf_counter()
    yield turn
    turn.seconds = time.perf_counter() - started
    turn.cpu = (time.process_time() if clients is None else sum(map(cpu_of, clients))) - cpu_before
    turn.server_cpu = cpu_of(server) - server_before if server else 0.0


def _cpu_fields(pid: int) -> tuple[int, ...] | None:
    """User and system time of a process, then of its dead children, in ticks (proc(5))."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(_AFTER_COMMAND)[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return tuple(int(field) for field in fields[_STATE_TO_UTIME : _STATE_TO_UTIME + 4])
