"""Keeping what is parked or dropped: the log writer notes it beside the log, and gives it back to a Redis that lost
it (docs/decisions/0023-parked-and-dropped.md).
"""

import time
from collections.abc import Collection, Iterable
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast

import msgspec
import structlog

from playhead.consumers.errors import StateLost
from playhead.consumers.reading.aside_mark import AsideMark, field_of
from playhead.consumers.reading.group import Group
from playhead.consumers.reading.parked import UNPARK, Aside, original, parked_fields, subjects_key
from playhead.consumers.reading.recovery import as_entry, chunks, just_before
from playhead.consumers.reading.thread import SinkThread
from playhead.eventlog.asides import AsideNote
from playhead.eventlog.errors import NotesDamaged
from playhead.eventlog.history import History
from playhead.streams import failpoints
from playhead.streams.entries import encode, subject_of
from playhead.streams.events import Recorded
from playhead.streams.failpoints import Point
from playhead.streams.names import again_key, parked_key, parked_positions_key, reports_key
from playhead.streams.parked_positions import ParkedPositions, split_positions
from playhead.streams.positions import Position

_LOOK_SECONDS = 1.0
_REST = 20
"""How many times as long as a look took it rests: many parked events must not cost the log its time."""
_CHUNK, _CHUNK_BYTES = 100, 8 * 1024 * 1024

Became = Literal["parked", "dropped", "again"]
Key = tuple[str, str]
"""A consumer and a position."""
_State = tuple[bytes, int, int]
_PUT_BACK = ("parked", "again")


class Keeping:
    """What is set aside in one partition, of all consumers, in Redis and beside the log."""

    def __init__(self, group: Group, thread: SinkThread, history: History) -> None:
        self._client, self._partition = group.client, group.partition
        self._thread, self._history = thread, history
        self._mark = AsideMark(group)
        self._set_aside = group.client.register_script(Path(__file__).with_name("set_aside.lua").read_text())
        self._unpark = group.client.register_script(UNPARK)
        self._noted: dict[Key, AsideNote] = {}
        self._number = 0
        self._seen: dict[str, _State] = {}
        self._look_at = 0.0
        self._log = structlog.get_logger().bind(projection=group.name, partition=str(group.partition))

    async def restore(self) -> None:
        """Give Redis what is noted if it knows less than the notes: it lost its data, or is an older copy.

        Raises:
            LogCorrupt: the log cannot be read.
            NotesDamaged: nor can a note that Redis may have lost; the event would take effect.
            StateLost: Redis lost its data meanwhile.
        """
        asides = await self._thread.call(partial(self._history.asides, self._partition))
        notes = asides.notes
        self._noted = {(note.consumer, note.position): note for note in notes}
        self._number = asides.number
        self._seen, self._look_at = {}, 0.0
        known = await self._mark.begin()
        is_lost = known.is_restoring or known.most < self._number
        if asides.unreadable:
            damaged = NotesDamaged(asides.file, asides.unreadable)
            if is_lost:
                raise damaged
            said = "notes of what is parked cannot be read: `playhead log verify` names them"
            self._log.error(said, count=len(asides.unreadable), file=str(damaged.file), line=damaged.line)
        if not is_lost:  # what the notes say otherwise happened since: it is noted at the next look
            self._number = max(self._number, known.most)  # the notes may be an older copy
            await self._mark.know(self._number)
            return
        await self._mark.restore(known)
        given = await self._mark.given()
        newer = {(note.consumer, note.position) for note in notes if note.number > known.number}
        lost = [self._noted[key] for key in newer]
        lost = [note for note in lost if (field_of(note), note.number) not in given]
        await self._settle([note for note in lost if note.became != "parked"])
        await self._put_back([note for note in lost if note.became in _PUT_BACK])
        if lost:
            failpoints.reach(Point.BEFORE_MARK)
        await self._mark.know(self._number)
        if lost:
            self._log.warning("redis forgot what is parked or dropped: it has it again", count=len(lost))

    async def keep(self, logged: Position) -> None:
        """Note what was parked, dropped or applied since the last look, of events that the log has by now.

        Raises:
            StateLost: Redis knows less than is noted.
        """
        if time.monotonic() < self._look_at:
            return
        started = time.monotonic()
        try:
            await self._keep(logged)
        except OSError as error:
            self._log.error("what is parked is not noted beside the log", error=str(error))
        self._look_at = time.monotonic() + max(_LOOK_SECONDS, _REST * (time.monotonic() - started))

    async def _keep(self, logged: Position) -> None:
        news: list[AsideNote] = []
        seen: dict[str, _State] = {}
        for consumer in await self._consumers():
            state = await self._state(consumer)
            if state != self._seen.get(consumer):
                found = await self._news(consumer)
                news += (of_log := [one for one in found if Position.parse(one.position) <= logged])
                if len(of_log) < len(found):
                    continue  # the rest is looked at again
            seen[consumer] = state
        if (await self._mark.read()).number < self._number:  # asked last: what was read before may be what a flush left
            raise StateLost(f"{self._partition}: Redis forgot what is parked")
        numbered = [
            msgspec.structs.replace(one, number=number) for number, one in enumerate(news, start=self._number + 1)
        ]
        if numbered:
            last = self._number + len(numbered)
            await self._mark.note(self._number, last)
            await self._thread.call(partial(self._history.note_asides, self._partition, numbered))
            self._noted |= {(one.consumer, one.position): one for one in numbered}
            self._number = last
            failpoints.reach(Point.BEFORE_MARK)
            await self._mark.know(last)
        self._seen = seen

    async def _consumers(self) -> list[str]:
        """Those that have a group, or had one."""
        groups = await self._client.xinfo_groups(self._partition.key) if await self._has_stream() else []
        reports = cast("list[bytes]", await cast("Any", self._client.hkeys(reports_key(self._partition.key))))
        names = {*(group["name"] for group in cast("list[dict[str, bytes]]", groups)), *reports}
        return sorted(name.decode("utf-8", "backslashreplace") for name in names)

    async def _has_stream(self) -> bool:
        return bool(await self._client.exists(self._partition.key))

    async def _state(self, consumer: str) -> _State:
        """The newest and the number of parked entries, and the size of the hash of positions.

        It changes whenever something is parked, dropped, given again or applied.
        """
        stream, _, positions = self._keys(consumer)
        size = int(await cast("Any", self._client.hlen(positions)))
        if not await self._client.exists(stream):
            return b"", 0, size
        about = await self._client.xinfo_stream(stream)
        return about["last-generated-id"], about["length"], size

    async def _news(self, consumer: str) -> list[AsideNote]:
        known = await self._positions(consumer)
        now: dict[str, Became] = {position.decode(): "dropped" for position in known.dropped}
        now |= {position.decode(): "parked" for position in known.parked}
        now |= {position.decode(): "again" for position in known.again}
        news: list[AsideNote] = []
        for position, became in now.items():
            before = self._noted.get((consumer, position))
            retry = known.again.get(position.encode(), b"").decode()
            if before is None or (before.became, before.retry) != (became, retry):
                news.append(AsideNote(0, consumer, position, became, retry=retry))
        parked = [known.parked[one.position.encode()] for one in news if one.became == "parked"]
        about = await self._about(consumer, parked) if parked else {}
        news = [
            msgspec.structs.replace(one, **about.get(known.parked.get(one.position.encode(), b""), {})) for one in news
        ]
        gone = [
            position
            for (name, position), note in self._noted.items()
            if name == consumer and note.became != "applied" and position not in now
        ]
        return news + [AsideNote(0, consumer, position, "applied") for position in gone]

    async def _about(self, consumer: str, ids: Collection[bytes]) -> dict[bytes, dict[str, Any]]:
        """Why the events of some parked ids are parked; what is parked between them is read too."""
        found: dict[bytes, dict[str, Any]] = {}
        stream, in_order = parked_key(self._partition.key, consumer), sorted(ids, key=Position.parse)
        first, last = in_order[0].decode(), in_order[-1].decode()
        while page := await self._client.xrange(stream, first, last, _CHUNK):
            for parked_id, fields in cast("list[tuple[bytes, dict[bytes, bytes]]]", page):
                first = f"({parked_id.decode()}"
                if parked_id in ids:
                    found[parked_id] = {
                        "reason": fields[b"parked_reason"].decode("utf-8", "backslashreplace"),
                        "reason_class": fields[b"parked_class"].decode(),
                        "blocks": fields.get(b"parked_blocks") == b"1",
                    }
        return found

    async def _put_back(self, notes: Iterable[AsideNote]) -> None:
        """Park events as they were, or give them again, in order. One that the log does not have is gone with Redis."""
        left: dict[Position, list[AsideNote]] = {}
        for note in notes:
            left.setdefault(Position.parse(note.position), []).append(note)
        if not left:
            return
        logged = self._history.between(self._partition, just_before(min(left)), max(left))
        found = chunks((recorded for recorded in logged if recorded.position in left), _CHUNK, _CHUNK_BYTES)
        while chunk := await self._thread.call(partial(next, found, None)):
            arguments: dict[str, list[str | bytes | int]] = {}
            for recorded in chunk:
                for note in left.pop(recorded.position, ()):
                    put_back = _again(note, recorded) if note.became == "again" else _parked(note, recorded)
                    arguments.setdefault(note.consumer, []).extend(put_back)
            for consumer, each in arguments.items():
                await self._give(consumer, each)
        if left:
            self._log.error("parked events are gone with Redis: the log does not have them", count=len(left))

    async def _settle(self, notes: Iterable[AsideNote]) -> None:
        """Take events from the parked ones of an older copy, and remember those that were dropped."""
        by_consumer: dict[str, list[AsideNote]] = {}
        for note in notes:
            by_consumer.setdefault(note.consumer, []).append(note)
        for consumer, mine in by_consumer.items():
            parked = (await self._positions(consumer)).parked
            for note in mine:
                if (parked_id := parked.get(note.position.encode())) is not None:
                    await self._take_out(note, parked_id)
            dropped = [note for note in mine if note.became == "dropped"]
            for first in range(0, len(dropped), _CHUNK):
                each = [part for note in dropped[first : first + _CHUNK] for part in (*_of(note), 0)]
                await self._give(consumer, each)
            await self._mark.give([note for note in mine if note.became == "applied"])

    async def _give(self, consumer: str, arguments: list[str | bytes | int]) -> None:
        keys = [*self._keys(consumer), self._mark.key, again_key(self._partition.key, consumer)]
        await self._set_aside(keys=keys, args=arguments)

    async def _take_out(self, note: AsideNote, parked_id: bytes) -> None:
        keys = self._keys(note.consumer)
        page = cast("Any", await self._client.xrange(keys[0], parked_id.decode(), parked_id.decode()))
        for _, fields in cast("list[tuple[bytes, dict[bytes, bytes]]]", page):
            subject = (subject_of(original(fields)) or "") if fields.get(b"parked_blocks") == b"1" else ""
            await self._unpark(keys=keys, args=[parked_id, subject, int(note.became == "dropped")])

    async def _positions(self, consumer: str) -> ParkedPositions:
        key = parked_positions_key(self._partition.key, consumer)
        return split_positions(await cast("Any", self._client.hgetall(key)))

    def _keys(self, consumer: str) -> list[str]:
        key = self._partition.key
        return [parked_key(key, consumer), subjects_key(self._partition, consumer), parked_positions_key(key, consumer)]


def _parked(note: AsideNote, recorded: Recorded) -> list[str | bytes | int]:
    """What `set_aside.lua` is given of an event that is parked."""
    fields = parked_fields(Aside(as_entry(recorded), note.reason, note.reason_class), note.consumer, blocks=note.blocks)
    return [*_of(note, recorded.event.subject if note.blocks else ""), len(fields), *fields]


def _again(note: AsideNote, recorded: Recorded) -> list[str | bytes | int]:
    """What it is given of an event that a worker was given again."""
    fields = encode(recorded.event, replay=note.retry, position=recorded.position)
    return [*_of(note), len(fields), *fields]


def _of(note: AsideNote, subject: str = "") -> tuple[str | bytes | int, ...]:
    return (note.position, subject, field_of(note), note.number, note.retry)
