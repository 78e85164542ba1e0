"""Whether the log has all that the streams had: only then does it prove anything against what a projection holds."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from redis import Redis, RedisCluster

from playhead.eventlog.reader import partitions, read_partition
from playhead.streams.domains.catalogue import LOG
from playhead.streams.events import Recorded
from playhead.streams.partitions import Partition
from playhead.streams.positions import START, Position
from playhead.streams.redis.stream_info import group_position, last_position

_CHUNK = 500
_LOG_SECONDS = 10.0
"""How long the log may stand still before it counts as behind."""
_LOOK_SECONDS = 0.05


class LogLevel:
    """What the streams had at one instant, and whether the log has come to it.

    Make it after the effects were looked at: what they show was in the streams before. Then `wait`, read the log,
    `note` what it gives, and ask for the `problem`.
    """

    def __init__(
        self,
        client: "Redis | RedisCluster",
        partitions: Sequence[Partition],
        checkpoints: Mapping[Partition, Position],
        *,
        is_whole: bool,
    ) -> None:
        """`checkpoints` are those that a projection keeps with its rows; `is_whole` is False for a damaged log."""
        self._client, self._checkpoints, self._is_whole = client, checkpoints, is_whole
        redis: Any = client
        # Numbers first: an event that is appended in between must not be asked of a log that need not have it yet.
        self._sequences = {one: int(redis.hget(f"{one.key}:meta", "sequence") or 0) for one in partitions}
        self._ends = {partition: last_position(client, partition) for partition in partitions}
        self._logged = dict.fromkeys(partitions, 0)
        self._last = dict.fromkeys(partitions, START)
        self._behind: str | None = None

    def wait(self) -> None:
        """Wait until the log writer is past what the streams had, as long as it moves."""
        before: dict[Partition, Position] = {}
        moved_at = time.monotonic()
        while True:
            now = {partition: group_position(self._client, partition, LOG) for partition in self._ends}
            waiting = [partition for partition, end in self._ends.items() if now[partition] < end]
            if not waiting:
                return
            if now != before:
                before, moved_at = now, time.monotonic()
            elif time.monotonic() - moved_at > _LOG_SECONDS:
                names = ", ".join(map(str, waiting))
                self._behind = f"the log writer has not written all of {names}: check `playhead status`"
                return
            time.sleep(_LOOK_SECONDS)

    def note(self, partition: Partition, events: Sequence[Recorded]) -> None:
        """Note what the log gives of a partition."""
        self._logged[partition] = max([self._logged[partition], *(one.sequence or 0 for one in events)])
        self._last[partition] = max([self._last[partition], *(one.position for one in events)])

    @property
    def problem(self) -> str | None:
        """Why the log, once it was read, proves nothing against what it does not have; None if it does."""
        if not self._is_whole:
            return "the log is damaged"
        if self._behind is not None:
            return self._behind
        short = [one for one, sequence in self._sequences.items() if self._logged[one] < sequence]
        if short:
            return f"the log lacks events of {', '.join(map(str, short))} that its stream had"
        older = [one for one, position in self._checkpoints.items() if one in self._last and self._last[one] < position]
        if older:
            return f"the log ends before the checkpoint of {', '.join(map(str, older))}: it lacks events"
        return None


def chunks(root: Path, partition: Partition) -> Iterator[list[Recorded]]:
    """Give the events of a partition of the log, 500 at once; damaged ones are left out."""
    events = read_partition(root, partition, None, strict=False)
    while chunk := list(islice(events, _CHUNK)):
        yield chunk


def partitions_of(root: Path, streams: Sequence[str], numbered: Iterable[Partition]) -> list[Partition]:
    """The partitions of streams: those that they have, and whatever the log has."""
    return sorted({*numbered, *(partition for partition in partitions(root) if partition.stream in streams)})
