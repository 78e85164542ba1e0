"""Keeping what is parked or dropped: the log's consumer notes it beside the log, and gives it back to a Redis that lost
it (docs/decisions/0023-parked-and-dropped.md).
"""

import time
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast
from uuid import uuid4

import msgspec
import structlog

from playhead.consumers.errors import StateLost
from playhead.consumers.reading.group import Group
from playhead.consumers.reading.parked import UNPARK, parkable, parked_key, positions_key, subjects_key
from playhead.consumers.reading.recovery import as_entry, chunks, just_before
from playhead.consumers.reading.thread import SinkThread
from playhead.eventlog.asides import AsideNote
from playhead.eventlog.errors import NotesDamaged
from playhead.eventlog.history import History
from playhead.streams.events import Recorded
from playhead.streams.names import reports_key
from playhead.streams.positions import Position

_LOOK_SECONDS = 1.0
_NUMBER = "number"
_DROPPED = b"dropped"
"""What `set_aside.lua` writes in place of a parked id."""
_REST = 20
"""How many times as long as a look took it rests: many parked events must not cost the log its time."""
_CHUNK, _CHUNK_BYTES = 100, 8 * 1024 * 1024

Became = Literal["parked", "dropped"]
Key = tuple[str, str]
"""A consumer and a position."""
_State = tuple[bytes, int]
_NOTHING: _State = (b"", 0)


class Keeping:
    """What is set aside in one partition, of all consumers, in Redis and beside the log."""

    def __init__(self, group: Group, thread: SinkThread, history: History) -> None:
        self._client, self._partition = group.client, group.partition
        self._thread, self._history = thread, history
        self._mark = f"{group.partition.key}:asides"
        self._set_aside = group.client.register_script(Path(__file__).with_name("set_aside.lua").read_text())
        self._exchange = group.client.register_script(Path(__file__).with_name("exchange.lua").read_text())
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
        known = await self._known()
        if asides.unreadable:
            damaged = NotesDamaged(asides.file, asides.unreadable)
            if known < self._number:
                raise damaged
            said = "notes of what is parked cannot be read: `playhead log verify` names them"
            self._log.error(said, count=len(asides.unreadable), file=str(damaged.file), line=damaged.line)
        if known >= self._number:
            self._number = known  # the notes are an older copy: later ones are numbered on from what Redis knows
            return
        restoring = f"restoring {uuid4()}"
        await cast("Any", self._client.hset(self._mark, _NUMBER, restoring))
        newer = {(note.consumer, note.position) for note in notes if note.number > known}
        lost = [self._noted[key] for key in newer]
        for note in lost:
            if note.became != "parked":
                await self._settle(note)
        await self._park_again([note for note in lost if note.became == "parked"])
        await self._note_known(restoring)
        if lost:
            self._log.warning("redis forgot what is parked or dropped: it has it again", count=len(lost))

    async def keep(self) -> None:
        """Note what was parked, dropped or applied since the last look.

        Raises:
            StateLost: Redis knows less than is noted.
        """
        if time.monotonic() < self._look_at:
            return
        started = time.monotonic()
        try:
            await self._keep()
        except OSError as error:
            self._log.error("what is parked is not noted beside the log", error=str(error))
        self._look_at = time.monotonic() + max(_LOOK_SECONDS, _REST * (time.monotonic() - started))

    async def _keep(self) -> None:
        news: list[AsideNote] = []
        seen: dict[str, _State] = {}
        for consumer in await self._consumers():
            state = await self._state(consumer)
            if state != self._seen.get(consumer, _NOTHING):
                news += await self._news(consumer)
            seen[consumer] = state
        if await self._known() < self._number:  # asked last: what was read before may be what a flush left
            raise StateLost(f"{self._partition}: Redis forgot what is parked")
        numbered = [
            msgspec.structs.replace(one, number=number) for number, one in enumerate(news, start=self._number + 1)
        ]
        if numbered:
            before = str(self._number)
            await self._thread.call(partial(self._history.note_asides, self._partition, numbered))
            self._noted |= {(one.consumer, one.position): one for one in numbered}
            self._number += len(numbered)
            await self._note_known(before)
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
        """The newest and the number of parked entries: changes whenever something is parked, dropped or applied."""
        stream = parked_key(self._partition, consumer)
        if not await self._client.exists(stream):
            return _NOTHING
        about = await self._client.xinfo_stream(stream)
        return about["last-generated-id"], about["length"]

    async def _news(self, consumer: str) -> list[AsideNote]:
        known = cast(
            "dict[bytes, bytes]", await cast("Any", self._client.hgetall(positions_key(self._partition, consumer)))
        )
        now = {
            name.decode(): (id.decode() if b"=" + id in known else None)
            for name, id in known.items()
            if name[:1] != b"="
        }
        news: list[AsideNote] = []
        for position, parked_id in now.items():
            before = self._noted.get((consumer, position))
            became: Became = "dropped" if parked_id is None else "parked"
            if before is None or before.became != became:
                news.append(AsideNote(0, consumer, position, became))
        about = await self._about(consumer, [now[one.position] for one in news if one.became == "parked"])
        news = [msgspec.structs.replace(one, **about.get(one.position, {})) for one in news]
        gone = [
            position
            for (name, position), note in self._noted.items()
            if name == consumer and note.became != "applied" and position not in now
        ]
        return news + [AsideNote(0, consumer, position, "applied") for position in gone]

    async def _about(self, consumer: str, ids: Sequence[str | None]) -> dict[str, dict[str, Any]]:
        """Why events are parked, by position."""
        found: dict[str, dict[str, Any]] = {}
        for parked_id in ids:
            if parked_id is None:
                continue
            reply = cast("Any", await self._client.xrange(parked_key(self._partition, consumer), parked_id, parked_id))
            for _, fields in cast("list[tuple[bytes, dict[bytes, bytes]]]", reply):
                found[fields[b"parked_position"].decode()] = {
                    "reason": fields[b"parked_reason"].decode("utf-8", "backslashreplace"),
                    "reason_class": fields[b"parked_class"].decode(),
                    "blocks": fields.get(b"parked_blocks") == b"1",
                }
        return found

    async def _park_again(self, notes: Iterable[AsideNote]) -> None:
        """Park events as they were, in order. One that the log does not have is gone with Redis."""
        left: dict[Position, list[AsideNote]] = {}
        for note in notes:
            left.setdefault(Position.parse(note.position), []).append(note)
        if not left:
            return
        logged = self._history.between(self._partition, just_before(min(left)), max(left))
        found = chunks((recorded for recorded in logged if recorded.position in left), _CHUNK, _CHUNK_BYTES)
        while chunk := await self._thread.call(partial(next, found, None)):
            for recorded in chunk:
                for note in left.pop(recorded.position, ()):
                    await self._park(note, recorded)
        if left:
            self._log.error("parked events are gone with Redis: the log does not have them", count=len(left))

    async def _park(self, note: AsideNote, recorded: Recorded) -> None:
        reason, fields = parkable(as_entry(recorded), note.reason, note.consumer)
        about = ["parked_position", note.position, "parked_reason", reason]
        about += ["parked_class", note.reason_class, "parked_blocks", str(int(note.blocks))]
        subject = recorded.event.subject if note.blocks else ""
        await self._set_aside(keys=self._keys(note), args=[note.position, subject, *about, *fields])

    async def _settle(self, note: AsideNote) -> None:
        """Take an event from the parked ones of an older copy, and remember one that was dropped."""
        keys = self._keys(note)
        parked_id = cast("bytes | None", await cast("Any", self._client.hget(keys[2], note.position)))
        if parked_id == _DROPPED:  # by a restore that was cut short
            return
        if parked_id is not None:
            reply = cast("Any", await self._client.xrange(keys[0], parked_id.decode(), parked_id.decode()))
            for _, fields in cast("list[tuple[bytes, dict[bytes, bytes]]]", reply):
                subject = fields.get(b"ce_subject", b"") if fields.get(b"parked_blocks") == b"1" else b""
                await self._unpark(keys=keys, args=[parked_id, subject, int(note.became == "dropped")])
        elif note.became == "dropped":
            await self._set_aside(keys=keys, args=[note.position, ""])

    async def _known(self) -> int:
        """The number of the last note that Redis knows of; below all of them if it lost its data."""
        known = cast("bytes | None", await cast("Any", self._client.hget(self._mark, _NUMBER)))
        return int(known) if known is not None and known.isdigit() else -1

    async def _note_known(self, before: str) -> None:
        if not await self._exchange(keys=[self._mark], args=[_NUMBER, before, self._number]):
            raise StateLost(f"{self._partition}: Redis forgot what is parked")

    def _keys(self, note: AsideNote) -> list[str]:
        makers = (parked_key, subjects_key, positions_key)
        return [make(self._partition, note.consumer) for make in makers]
