"""The backlog: what was appended and is not yet applied by every reader, kept small by waiting."""

import time
from collections import deque
from collections.abc import Sequence
from typing import Any, cast

import msgspec
from redis import Redis, RedisCluster

from playhead.streams.errors import PlayheadError
from playhead.streams.names import presence_key, reports_key
from playhead.streams.partitions import Partition
from playhead.streams.positions import START, Position

PATIENCE = 15.0
"""Seconds for which a reader may be away, to be started again for instance."""

_POLL_SECONDS = 0.02
_SILENT_SECONDS = 2.0


class NoReaders(PlayheadError):
    """Nobody reads for a projection that this waits for."""

    def __init__(self, partition: Partition, names: Sequence[str]) -> None:
        each = ", ".join(f"`playhead run {name}`" for name in names)
        super().__init__(
            f"no process reads {partition} for {', '.join(names)}: start {each}, or everything with `playhead up`;"
            " `playhead consumers resume` continues one that is paused"
        )


class Watch:
    """What a run tells while it goes on; the default tells nobody."""

    def advanced(self, count: int) -> None:
        """So many more events are sent."""

    def waiting(self, text: str) -> None:
        """It waits for somebody, and for a while already."""


class _Part(msgspec.Struct, frozen=True):
    partition: Partition
    key: str
    readers: Sequence[str]
    position: Position
    size: int
    trim: bool


class _Report(msgspec.Struct):
    """What is of interest here in what a consumer says of itself."""

    problem: str | None = None
    replays: tuple[str, ...] = ()


class Backlog:
    """Appended parts, oldest first."""

    def __init__(self, client: "Redis | RedisCluster", watch: Watch, patience: float = PATIENCE) -> None:
        self._redis: Any = client
        self._watch, self._patience = watch, patience
        self._parts: deque[_Part] = deque()
        self._size = 0

    def add(
        self, partition: Partition, key: str, readers: Sequence[str], position: Position, size: int, *, trim: bool
    ) -> None:
        """Count a part in, so many bytes; `trim` removes from the stream what every reader has applied."""
        self._parts.append(_Part(partition, key, readers, position, size, trim))
        self._size += size

    def wait(self, limit: int) -> None:
        """Wait while more than so many bytes are not applied; 0 waits for everything.

        Raises:
            NoReaders: a reader has been away for too long.
        """
        if self._size <= limit and limit:
            return
        while self._parts and (self._size > limit // 2 or not limit):
            part = self._parts.popleft()
            self._wait_for(part)
            self._size -= part.size

    def wait_until_settled(self, partition: Partition, readers: Sequence[str], run: str) -> None:
        """Wait until no reader follows a run any more: it stops to when none of it is deferred.

        Raises:
            NoReaders: a reader has been away for too long.
        """
        waited = self._begin(partition)
        while following := [name for name in readers if run in _report(self._redis, partition, name).replays]:
            waited.check(following)

    def _begin(self, partition: Partition) -> "_Waiting":
        return _Waiting(self._redis, partition, self._watch, self._patience)

    def _wait_for(self, part: _Part) -> None:
        waited = self._begin(part.partition)
        while True:
            groups = {
                group["name"].decode("utf-8", "backslashreplace"): Position.parse(group["last-delivered-id"])
                for group in self._redis.xinfo_groups(part.key)
            }
            positions = {name: groups.get(name, START) for name in part.readers}
            if part.trim and (lowest := min(positions.values())) > START:
                self._redis.xtrim(part.key, minid=str(lowest), approximate=False)
            behind = [name for name, position in positions.items() if position < part.position]
            if not behind:
                return
            waited.check(behind)


def _is_there(redis: Any, partition: Partition, name: str) -> bool:
    return bool(redis.exists(presence_key(partition.key, name)))


def _report(redis: Any, partition: Partition, name: str) -> _Report:
    reply = cast("bytes | None", redis.hget(reports_key(partition.key), name))
    return msgspec.json.decode(reply, type=_Report) if reply else _Report()


class _Waiting:
    """One wait: sleeps between two looks, says after a while for whom, and gives up on who has been away too long."""

    def __init__(self, redis: Any, partition: Partition, watch: Watch, patience: float) -> None:
        self._redis, self._partition, self._watch, self._patience = redis, partition, watch, patience
        self._since = time.monotonic()
        self._away_since: dict[str, float] = {}

    def check(self, names: Sequence[str]) -> None:
        now = time.monotonic()
        away = [name for name in names if not _is_there(self._redis, self._partition, name)]
        self._away_since = {name: self._away_since.get(name, now) for name in away}
        given_up = [name for name, since in self._away_since.items() if now - since > self._patience]
        if given_up:
            raise NoReaders(self._partition, given_up)
        if now - self._since > _SILENT_SECONDS:
            problems = {name: _report(self._redis, self._partition, name).problem for name in names}
            said = ", ".join(f"{name} ({problem})" if problem else name for name, problem in problems.items())
            self._watch.waiting(f"waiting for {said} on {self._partition}")
        time.sleep(_POLL_SECONDS)
