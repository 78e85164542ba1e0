"""Replay: recorded events into a private stream a run, which only the chosen projections read."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import msgspec
import uuid_utils
from redis import Redis, RedisCluster
from redis.exceptions import ResponseError

from playhead.eventlog.replay.backlog import PATIENCE, Backlog, NoReaders, Watch
from playhead.eventlog.replay.runs import KEPT_SECONDS, RunElsewhere, forget
from playhead.streams.entries import RawEntry, decode, encode
from playhead.streams.events import Event, Recorded
from playhead.streams.names import parked_key, replay_key, replay_progress_key, replays_key
from playhead.streams.partitions import Partition
from playhead.streams.positions import Position
from playhead.streams.telemetry import replaying

__all__ = ["NoReaders", "Pace", "Replay", "Report", "RunElsewhere", "new_run"]

_SCRIPT = Path(__file__).with_name("replay.lua").read_text()
_BATCH = 500
_BATCH_BYTES = 8 * 1024 * 1024
_WAITING_BYTES = 64 * 1024 * 1024
_PACED_BATCHES = 4
"""Batches a second under a rate."""
_PAGE = 20


class Report(msgspec.Struct):
    """What a replay did.

    `skipped` counts by reason, `left_out` those of them that nobody asked to skip and that may hold input, `failed`
    files that are broken and events that were parked, `missing` events that the log lacks, where that is allowed.
    """

    run: str
    read: int = 0
    imported: int = 0
    replayed: int = 0
    skipped: dict[str, int] = msgspec.field(default_factory=dict[str, int])
    left_out: int = 0
    failed: int = 0
    missing: int = 0

    def skip(self, reason: str, count: int = 1, *, spare: bool = True) -> None:
        """Count what was skipped; nothing is lost with what is `spare`."""
        self.skipped[reason] = self.skipped.get(reason, 0) + count
        self.left_out += 0 if spare else count


class Pace:
    """At most `rate` events a second, or as fast as it goes if that is None."""

    def __init__(self, rate: float | None = None) -> None:
        self._rate = rate
        self._next = time.monotonic()

    @property
    def batch(self) -> int:
        """How many events to send at once."""
        return _BATCH if self._rate is None else max(1, min(_BATCH, int(self._rate / _PACED_BATCHES)))

    def take(self, count: int) -> None:
        """Wait until so many more may go; time not used before is not made up for."""
        if self._rate is None:
            return
        now = time.monotonic()
        if self._next > now:
            time.sleep(self._next - now)
        self._next = max(self._next, now) + count / self._rate


def new_run() -> str:
    """Name a run; names sort by time."""
    return str(uuid_utils.uuid7())


class Replay:
    """One run. `readers` are the projections that read each stream of it.

    Of each partition the run remembers, beside its stream, which event was sent last, so it can be gone on with.
    """

    def __init__(
        self,
        client: "Redis | RedisCluster",
        run: str,
        readers: Mapping[str, Sequence[str]],
        *,
        watch: Watch | None = None,
        pace: Pace | None = None,
        patience: float = PATIENCE,
    ) -> None:
        self._client = client
        self._redis: Any = client
        self._run, self._readers = run, readers
        self._watch = watch or Watch()
        self._pace = pace or Pace()
        self._backlog = Backlog(client, self._watch, patience)
        self._script = client.register_script(_SCRIPT)
        self._batches: dict[Partition, list[Recorded]] = {}
        self._buffered = 0
        self._sent: dict[Partition, Position | None] = {}
        self.sent_before = 0
        """How many events the run had sent when it was resumed."""

    def resume(self, partitions: Iterable[Partition]) -> dict[Partition, Position]:
        """Where to go on in each partition that the run has begun."""
        for partition in partitions:
            position, entry, sent = self._redis.hmget(self._progress(partition), "position", "entry", "sent")
            if position is not None:
                self._open(partition)  # again, if the run was cut short at its end
                self.sent_before += int(sent or 0)
                self._sent[partition] = Position.parse(position)
                self._track(partition, Position.parse(entry), 0)
        return {partition: position for partition, position in self._sent.items() if position is not None}

    def send(self, events: Iterable[tuple[Partition, Recorded]]) -> int:
        """Append everything, waiting for the readers so that Redis holds 64 MiB of it at most; returns how many.

        Positions of a partition must rise.

        Raises:
            NoReaders: a projection has had no process for a while.
            RunElsewhere: another process sends the same run.
        """
        count = 0
        for partition, recorded in events:
            batch = self._batches.setdefault(partition, [])
            batch.append(recorded)
            self._buffered += len(recorded.event.data)
            count += 1
            if len(batch) >= self._pace.batch:
                self._flush(partition)
            elif self._buffered >= _BATCH_BYTES:
                self._flush_all()
        self._flush_all()
        return count

    def finish(self, covers: Callable[[Event], bool] = lambda _: True) -> int:
        """Wait until every projection has applied everything, remove the run; returns how many events are parked.

        These are events up to the last one sent that are parked now, whatever parked them: projections pass over what
        was parked otherwise. `covers` says which of them belong to the run.

        Raises:
            NoReaders: a projection has had no process for a while.
        """
        self._backlog.wait(0)
        for partition in self._sent:
            self._redis.hdel(replays_key(partition.key), self._run)
        for partition in self._sent:
            self._backlog.wait_until_settled(partition, self._readers[partition.stream], self._run)
        parked = sum(
            self._count_parked(partition, name, covers)
            for partition in self._sent
            for name in self._readers[partition.stream]
        )
        for partition in self._sent:
            self._redis.unlink(replay_key(partition.key, self._run), self._progress(partition))
        forget(self._client, self._run)
        return parked

    def _flush_all(self) -> None:
        for partition in list(self._batches):
            self._flush(partition)

    def _flush(self, partition: Partition) -> None:
        batch = self._batches.pop(partition)
        if partition not in self._sent:
            self._open(partition)
        size = sum(len(recorded.event.data) for recorded in batch)
        self._buffered -= size
        self._pace.take(len(batch))
        self._track(partition, self._append(partition, batch), size)
        self._backlog.wait(_WAITING_BYTES)
        self._watch.advanced(len(batch))

    def _append(self, partition: Partition, batch: Sequence[Recorded]) -> Position:
        before, last = self._sent[partition], batch[-1].position
        values: list[str | bytes | int] = ["" if before is None else str(before), str(last), KEPT_SECONDS]
        for recorded in batch:
            fields = encode(recorded.event, replay=self._run, position=recorded.position)
            values += (len(fields), *fields)
        try:
            with replaying(partition, self._run, len(batch)):
                reply = self._script(
                    keys=[replay_key(partition.key, self._run), self._progress(partition)], args=values
                )
        except ResponseError as error:
            if str(error).startswith("ELSEWHERE"):
                raise RunElsewhere(f"{RunElsewhere.__doc__} ({self._run}, {partition})") from error
            raise
        self._sent[partition] = last
        return Position.parse(cast("bytes", reply))

    def _open(self, partition: Partition) -> None:
        names = self._readers[partition.stream]
        key, progress = replay_key(partition.key, self._run), self._progress(partition)
        for name in names:
            try:
                self._redis.xgroup_create(key, name, id="0", mkstream=True)
            except ResponseError as error:
                if "BUSYGROUP" not in str(error):
                    raise
        for one in (key, progress):
            self._redis.expire(one, KEPT_SECONDS)
        self._redis.hset(replays_key(partition.key), self._run, ",".join(names))
        self._sent[partition] = None

    def _track(self, partition: Partition, entry: Position, size: int) -> None:
        key = replay_key(partition.key, self._run)
        self._backlog.add(partition, key, self._readers[partition.stream], entry, size, trim=True)

    def _count_parked(self, partition: Partition, name: str, covers: Callable[[Event], bool]) -> int:
        """How many events of this run are parked; one that was parked before is not kept twice."""
        parked, run, last = parked_key(partition.key, name), self._run.encode(), self._sent[partition]
        count, seen = 0, set[bytes]()
        for parked_id, fields in self._entries(parked, "-"):
            position = fields.get(b"ce_position") or fields.get(b"parked_position", b"")
            is_own = fields.get(b"ce_replay") == run
            if is_own and position in seen:
                self._redis.xdel(parked, parked_id)
            elif is_own or (last is not None and _is_of(fields, last, covers)):
                count += 1
            seen.add(position)
        return count

    def _entries(self, key: str, first: str) -> Iterable[tuple[bytes, dict[bytes, bytes]]]:
        while page := self._redis.xrange(key, first, "+", count=_PAGE):
            yield from page
            first = f"({page[-1][0].decode()}"

    def _progress(self, partition: Partition) -> str:
        return replay_progress_key(partition.key, self._run)


def _is_of(fields: Mapping[bytes, bytes], last: Position, covers: Callable[[Event], bool]) -> bool:
    """Whether a parked entry is an event up to a position that a run covers; the log has none that is not an event."""
    about = {name: value for name, value in fields.items() if not name.startswith(b"parked_")}
    try:
        entry = RawEntry(fields[b"parked_position"], [part for pair in about.items() for part in pair])
        recorded = decode(entry, copied=True)
    except (KeyError, ValueError):
        return False
    return recorded.position <= last and covers(recorded.event)
