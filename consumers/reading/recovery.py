"""Recovery: whether the stream is still the one that log and sinks know, and how it becomes that again.

The log is the reference. Its process compares the stream with the log whenever it opens a partition, and lets a stream
that was emptied or set back go on behind the log's tail. Everybody else then reads from the log what the stream no
longer has (docs/decisions/0004-recovery-from-the-log.md).
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import msgspec
from redis.exceptions import ResponseError

from playhead.consumers.errors import LeaseLost, StateLost
from playhead.consumers.reading.group import Group
from playhead.eventlog.history import History, Tail
from playhead.streams import names
from playhead.streams.appending.appender import DEFAULT_WINDOW
from playhead.streams.entries import RawEntry, encode, sequence_number
from playhead.streams.errors import KeyDamaged
from playhead.streams.events import Recorded
from playhead.streams.partitions import Partition
from playhead.streams.positions import LAST, START, Position
from playhead.streams.redis.stream_info import is_missing

_HERE = Path(__file__).parent
_CHUNK, _CHUNK_BYTES = 500, 8 * 1024 * 1024


class Entry(msgspec.Struct, frozen=True):
    """An entry of the stream: its position, event id and sequence number, if it has them."""

    position: Position
    event_id: str | None
    sequence: int | None


class Restart(msgspec.Struct, frozen=True):
    """The stream lost its state: it agrees with the log up to `common`, and goes on behind `tail`."""

    number: int
    common: Position
    tail: Position
    sequence: int


class View(msgspec.Struct, frozen=True):
    """What Redis says about a partition at one instant."""

    run_id: str
    compared: str
    last: Position
    sequence: int
    at: Entry | None
    before: Entry | None
    behind: Entry | None
    restarts: tuple[Restart, ...]
    honoured: int
    retired_at: Position | None
    """Where this group stood when it was retired, if it was and is not created again yet."""
    gone: tuple[Position, ...]
    """What it had in hand then, and the stream did not have."""
    highest: int
    """The highest sequence number that `append` gave."""

    @property
    def is_compared(self) -> bool:
        """Whether the log writer has compared this stream with the log since the server started."""
        return self.compared == self.run_id

    @property
    def missed(self) -> tuple[Restart, ...]:
        """Restarts that this group has not taken into account yet."""
        return tuple(restart for restart in self.restarts if restart.number > self.honoured)


class Lost(msgspec.Struct, frozen=True):
    """Events that are gone from the stream unread. `reason` says where else they are missing."""

    projection: str
    count: int
    after: str
    before: str
    reason: str
    at: float


class Recovery:
    """One group's side of it, on one partition."""

    def __init__(self, group: Group, count: int | None = None) -> None:
        """`count` is the stream's number of partitions, if this is the log writer, which sees to it."""
        self._count = "" if count is None else str(count)
        client = group.client
        self._client, self._group = client, group
        self._partition: Partition = group.partition
        key = group.partition.key
        self._keys = [key, f"{key}:meta", restarts_key(group.partition)]
        self._ids = [f"{key}:ids:0", f"{key}:ids:1"]
        self._look = client.register_script((_HERE / "look.lua").read_text())
        self._rejoin = client.register_script((_HERE / "rejoin.lua").read_text())
        self._compared = client.register_script((_HERE / "compared.lua").read_text())
        self._remember = client.register_script((_HERE / "remember.lua").read_text())
        self._lower = client.register_script((_HERE / "lower.lua").read_text())
        self._unlogged = client.register_script((_HERE / "unlogged.lua").read_text())

    async def look(self, cursor: Position) -> View:
        """Ask Redis about the stream around a cursor.

        Raises:
            KeyDamaged: what is noted beside the stream cannot be read.
        """
        reply = cast("list[Any]", await self._look(keys=self._keys, args=[str(cursor)]))
        try:
            return self._view(reply)
        except (ValueError, AttributeError) as error:
            raise KeyDamaged(f"{self._keys[1]} or {self._keys[2]}: {error}. {KeyDamaged.__doc__}") from error

    def _view(self, reply: list[Any]) -> View:
        run_id, compared, last, sequence, at, before, behind, restarts, highest = reply
        values = dict(zip(restarts[::2], restarts[1::2], strict=True))
        honoured = int(values.pop(self._honoured.encode(), b"0"))
        retired_at = values.pop(f"retired:{self._group.name}".encode(), None)
        gone = values.pop(f"gone:{self._group.name}".encode(), b"")
        return View(
            run_id.decode(),
            compared.decode(),
            Position.parse(last),
            int(sequence),
            _entry(at),
            _entry(before),
            _entry(behind),
            _restarts(values),
            honoured,
            None if retired_at is None else Position.parse(retired_at),
            tuple(map(Position.parse, gone.split())),
            int(highest),
        )

    async def restarts(self) -> int:
        """How often the stream was set behind the log's tail."""
        return int(await cast("Any", self._client.hget(self._keys[2], "count")) or 0)

    async def honour(self, restart: int) -> None:
        """Note that this group took a restart into account."""
        await cast("Any", self._client.hset(self._keys[2], self._honoured, restart))

    async def note_compared(self, view: View) -> None:
        """Note that stream and log agree on this server.

        Raises:
            StateLost: something was appended under another number of partitions.
        """
        if not await self._compared(keys=[self._keys[1]], args=[view.run_id, self._count]):
            raise self._misplaced()

    async def rejoin(self, view: View, tail: Tail | None, common: Position) -> tuple[int, int]:
        """Let the stream go on behind the log's tail; how many entries were moved there, and how many dropped.

        Raises:
            LeaseLost: another process has the partition.
            StateLost: something was appended under another number of partitions.
        """
        keys = [*self._keys, *self._ids, self._group.lease_key]
        position, sequence = (START, 0) if tail is None else (tail.recorded.position, tail.sequence)
        arguments = [self._group.holder, str(position), sequence, str(common), view.run_id]
        reply = cast("list[int] | None", await self._rejoin(keys=keys, args=[*arguments, self._count]))
        if reply is None:
            raise LeaseLost(str(self._partition))
        if not reply:
            raise self._misplaced()
        return reply[0], reply[1]

    async def lower(self, first: Position, logged: Position) -> int:
        """Give the entries from a position on new ids behind all others; how many there were.

        Raises:
            LeaseLost: another process has the partition.
        """
        keys = [self._keys[0], f"{self._keys[0]}:new", *self._ids, self._group.lease_key]
        reply = await self._lower(keys=keys, args=[self._group.holder, str(first), str(logged)])
        if reply is None:
            raise LeaseLost(str(self._partition))
        return cast("int", reply)

    async def has(self, position: Position) -> bool:
        """Whether the stream has an entry at a position."""
        return bool(await self._client.xrange(self._partition.key, str(position), str(position)))

    async def now(self) -> Position:
        """The highest position that the server's clock gives by now."""
        seconds, microseconds = cast("tuple[int, int]", await cast("Any", self._client).time())
        return Position(seconds * 1000 + microseconds // 1000, LAST.counter)

    async def last(self) -> Position:
        """The last id that the stream gave; the beginning if there is no stream."""
        try:
            info = await self._client.xinfo_stream(self._partition.key)
        except ResponseError as error:
            if not is_missing(error):
                raise
            return START
        return Position.parse(info["last-generated-id"])

    async def remember(self, events: Sequence[Recorded]) -> None:
        """Let `append` know ids that the log has."""
        values = [part for recorded in events for part in (recorded.event.id, str(recorded.position))]
        if values:
            await self._remember(keys=self._ids, args=[DEFAULT_WINDOW, *values])

    async def entries_before(self, position: Position) -> list[Entry]:
        """Entries before a position, the newest first, a chunk of them."""
        reply = await self._client.xrevrange(self._partition.key, f"({position}", "-", count=_CHUNK)
        found = cast("list[tuple[bytes, dict[bytes, bytes]]]", reply)
        return [_made(entry_id, fields) for entry_id, fields in found]

    async def note_lost(self, lost: Lost) -> None:
        """Keep what is lost for `status` and `verify`."""
        key = lost_key(self._partition)
        await cast("Any", self._client.rpush(key, msgspec.json.encode(lost)))
        await cast("Any", self._client.ltrim(key, -1000, -1))

    async def note_unlogged(self, lost: Lost) -> int:
        """Keep what the log lacks, less what is noted of it already; how many events that were."""
        arguments = [lost.projection, lost.count, lost.after, lost.before, lost.reason, lost.at]
        return cast("int", await self._unlogged(keys=[lost_key(self._partition)], args=arguments))

    async def set_aside(self, after: Position) -> int:
        """How many entries behind a position this group has parked."""
        return sum(Position.parse(one) > after for one in await self._group.set_aside())

    async def losses(self) -> list[Lost]:
        """What every group lost, as noted."""
        found = cast("list[bytes]", await cast("Any", self._client.lrange(lost_key(self._partition), 0, -1)))
        return [msgspec.json.decode(raw, type=Lost) for raw in found]

    async def forget(self, lost: Lost) -> None:
        """Drop a loss that is none any more."""
        key = lost_key(self._partition)
        for raw in cast("list[bytes]", await cast("Any", self._client.lrange(key, 0, -1))):
            if msgspec.json.decode(raw, type=Lost) == lost:
                await cast("Any", self._client).lrem(key, 1, raw)

    async def forget_lost(self, reason: str) -> None:
        """Drop this group's losses of a kind: a replay has brought them back."""
        key = lost_key(self._partition)
        for raw in cast("list[bytes]", await cast("Any", self._client.lrange(key, 0, -1))):
            lost = msgspec.json.decode(raw, type=Lost)
            if (lost.projection, lost.reason) == (self._group.name, reason):
                await cast("Any", self._client).lrem(key, 0, raw)

    async def lost(self, reason: str) -> int:
        """How many events this group lost for a reason, as noted."""
        found = await self.losses()
        return sum(lost.count for lost in found if (lost.projection, lost.reason) == (self._group.name, reason))

    def _misplaced(self) -> StateLost:
        return StateLost(f"{self._partition} has events that were appended under another number of partitions")

    @property
    def _honoured(self) -> str:
        return f"honoured:{self._group.name}"


def diverged(view: View, tail: Tail, *, before_is_logged: bool) -> bool:
    """Whether the stream is another one than that which the log was written from."""
    if view.sequence < view.highest:
        return True  # somebody set the number back
    if view.at is not None:
        return view.at.event_id != tail.recorded.event.id
    behind = view.behind.sequence if view.behind is not None else None
    return (
        view.last < tail.recorded.position
        or view.sequence < tail.sequence
        or (behind is not None and behind <= tail.sequence)
        or not before_is_logged
    )


def is_logged(history: History, partition: Partition, entries: Sequence[Entry]) -> Entry | None:
    """The first of some entries, newest first, that the log has at the same position."""
    if not entries:
        return None
    oldest, newest = entries[-1].position, entries[0].position
    known = {(each.position, each.event.id) for each in history.between(partition, just_before(oldest), newest)}
    return next((entry for entry in entries if (entry.position, entry.event_id) in known), None)


def chunks(events: Iterator[Recorded], count: int, size: int) -> Iterator[list[Recorded]]:
    """Events in lists of at most `count`, or of `size` bytes and one event more."""
    chunk: list[Recorded] = []
    held = 0
    for recorded in events:
        chunk.append(recorded)
        held += len(recorded.event.data)
        if len(chunk) >= count or held >= size:
            yield chunk
            chunk, held = [], 0
    if chunk:
        yield chunk


def recent(history: History, partition: Partition, after: Position) -> Iterator[list[Recorded]]:
    """The events whose ids `append` would remember, had the stream not lost its state; in chunks."""
    window = Position(int((time.time() - DEFAULT_WINDOW) * 1000), 0)
    return chunks(history.between(partition, max(after, window), None), _CHUNK, _CHUNK_BYTES)


def as_entry(recorded: Recorded) -> RawEntry:
    """A logged event as the entry it was."""
    fields = encode(recorded.event)
    if recorded.sequence is not None:
        fields += ("ce_sequence", f"{recorded.sequence:016d}")
    flat = [part.encode() if isinstance(part, str) else part for part in fields]
    return RawEntry(str(recorded.position).encode(), flat)


def restarts_key(partition: Partition) -> str:
    """The hash of restarts, and of what each group has taken into account."""
    return names.restarts_key(partition.key)


def lost_key(partition: Partition) -> str:
    """The list of what was lost."""
    return f"{partition.key}:lost"


def just_before(position: Position) -> Position:
    """The highest position below another."""
    if position.counter:
        return Position(position.milliseconds, position.counter - 1)
    return Position(position.milliseconds - 1, 2**63 - 1) if position.milliseconds else START


def _entry(found: Sequence[Any]) -> Entry | None:
    if not found:
        return None
    entry_id, fields = found[0]
    return _made(entry_id, dict(zip(fields[::2], fields[1::2], strict=True)))


def _made(entry_id: bytes, fields: Mapping[bytes, bytes]) -> Entry:
    event_id, sequence = fields.get(b"ce_id"), fields.get(b"ce_sequence", b"")
    return Entry(
        Position.parse(entry_id),
        None if event_id is None else event_id.decode("utf-8", "backslashreplace"),
        sequence_number(sequence),
    )


def _restarts(values: Mapping[bytes, bytes]) -> tuple[Restart, ...]:
    found: list[Restart] = []
    for name, value in values.items():
        if name.isdigit():
            common, tail, sequence = value.split()
            found.append(Restart(int(name), Position.parse(common), Position.parse(tail), int(sequence)))
    return tuple(sorted(found, key=lambda restart: restart.number))
