"""Replay: recorded events into a private stream a run, which only the chosen projections read."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

import msgspec
import uuid_utils
from redis import Redis

from streams.errors import PlayheadError
from streams.events import Recorded
from streams.partitions import Partition
from streams.positions import START, Position
from streams.producer import append_replayed, load_script
from streams.telemetry import replaying

_BATCH = 500
_BATCH_BYTES = 8 * 1024 * 1024
_WAITING_BYTES = 64 * 1024 * 1024
_POLL_SECONDS = 0.05
_SILENCE_SECONDS = 15.0


class NoReaders(PlayheadError):
    """Nobody reads the replay: start the consumers with `playhead up` or `playhead run NAME`, then resume the run."""


class Report(msgspec.Struct):
    """What a replay did; `skipped` counts by reason."""

    run: str
    read: int = 0
    imported: int = 0
    replayed: int = 0
    skipped: dict[str, int] = msgspec.field(default_factory=dict[str, int])
    failed: int = 0

    def skip(self, reason: str) -> None:
        """Count one that was left out."""
        self.skipped[reason] = self.skipped.get(reason, 0) + 1


def new_run() -> str:
    """Name a run; names sort by time."""
    return str(uuid_utils.uuid7())


class Replay:
    """One run: streams made when the first event comes, waited for and removed at the end."""

    def __init__(self, client: Redis, run: str, to: Sequence[str], *, progress: Callable[[int], None]) -> None:
        self._client, self._run, self._to, self._progress = client, run, to, progress
        self._script = load_script(client)
        self._waiting: Counter[Partition] = Counter()
        self._batches: dict[Partition, list[Recorded]] = {}
        self._sizes: Counter[Partition] = Counter()
        self._last: dict[Partition, Position] = {}
        self._parked_before: dict[Partition, int] = {}

    def send(self, events: Iterable[tuple[Partition, Recorded]]) -> int:
        """Append everything, waiting for the readers so that Redis holds 64 MiB of it at most; returns how many."""
        count = 0
        for partition, recorded in events:
            batch = self._batches.setdefault(partition, [])
            batch.append(recorded)
            self._sizes[partition] += len(recorded.event.data)
            count += 1
            if len(batch) >= _BATCH or self._sizes[partition] >= _BATCH_BYTES:
                self._flush(partition)
        for partition in list(self._batches):
            self._flush(partition)
        return count

    def finish(self) -> int:
        """Wait until every projection has applied everything, remove the run; returns how many events were parked."""
        parked = 0
        for partition, last in self._last.items():
            self._wait(partition, last)
            parked += self._parked(partition) - self._parked_before[partition]
            redis = cast("Any", self._client)
            redis.hdel(f"{partition.key}:replays", self._run)
            key = self._key(partition)
            self._wait_until_settled(partition)
            redis.unlink(key, f"{key}:meta", f"{key}:ids:0", f"{key}:ids:1")
        return parked

    def _flush(self, partition: Partition) -> None:
        batch = self._batches.pop(partition, [])
        if not batch:
            return
        if partition not in self._last:
            self._open(partition)
        size = self._sizes.pop(partition)
        with replaying(partition, self._run, len(batch)):
            self._last[partition] = append_replayed(self._script, self._key(partition), batch, self._run)[-1]
        self._waiting[partition] += size
        if self._waiting[partition] > _WAITING_BYTES:
            self._wait(partition, self._last[partition])
            self._waiting[partition] = 0
        self._progress(len(batch))

    def _open(self, partition: Partition) -> None:
        redis = cast("Any", self._client)
        self._parked_before[partition] = self._parked(partition)
        key = self._key(partition)
        existing = {group["name"].decode() for group in redis.xinfo_groups(key)} if redis.exists(key) else set[str]()
        for name in self._to:
            if name not in existing:
                redis.xgroup_create(key, name, id="0", mkstream=True)
        redis.hset(f"{partition.key}:replays", self._run, ",".join(self._to))

    def _wait(self, partition: Partition, position: Position) -> None:
        redis = cast("Any", self._client)
        key = self._key(partition)
        silent_since = time.monotonic()
        lowest = START
        while True:
            before, lowest = (
                lowest,
                min(Position.parse(group["last-delivered-id"]) for group in redis.xinfo_groups(key)),
            )
            if lowest > before:
                silent_since = time.monotonic()
                redis.xtrim(key, minid=str(lowest), approximate=False)
            if lowest >= position:
                return
            held = all(redis.exists(f"{partition.key}:lease:{name}") for name in self._to)
            if held:
                silent_since = max(silent_since, time.monotonic() - 10)
            if time.monotonic() - silent_since > _SILENCE_SECONDS:
                raise NoReaders(f"{NoReaders.__doc__} (--resume {self._run})")
            time.sleep(_POLL_SECONDS)

    def _wait_until_settled(self, partition: Partition) -> None:
        """Each projection says which runs it follows; it drops one only when nothing of it is put off any more."""
        deadline = time.monotonic() + _SILENCE_SECONDS
        while True:
            reports = cast(
                "list[bytes | None]", cast("Any", self._client).hmget(f"{partition.key}:consumers", *self._to)
            )
            if not any(report and self._run.encode() in report for report in reports):
                return
            if time.monotonic() > deadline:
                raise NoReaders(f"{NoReaders.__doc__} (--resume {self._run})")
            time.sleep(_POLL_SECONDS)

    def _parked(self, partition: Partition) -> int:
        return sum(self._client.xlen(f"{partition.key}:parked:{name}") for name in self._to)

    def _key(self, partition: Partition) -> str:
        return f"{partition.key}:replay:{self._run}"
