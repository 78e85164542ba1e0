"""The feed of one partition: from the log what the stream no longer has, from the stream what the log lacks yet.

What makes the seam safe is the order of two looks. Entries leave the stream only once they are in the log. So if the
stream is seen to begin behind our position, the log is read after that look, and has whatever stood between
(docs/decisions/0011-subscriptions.md).
"""

from collections.abc import Generator, Sequence
from pathlib import Path

import msgspec
import structlog

from playhead.consumers.reading.recovery import Restart, just_before
from playhead.consumers.subscriptions.errors import EventsGone
from playhead.consumers.subscriptions.stream import Behind, PartitionStream, State
from playhead.eventlog.following import Follower
from playhead.streams.entries import RawEntry, decode, sequence_of
from playhead.streams.errors import InvalidEvent
from playhead.streams.events import Recorded
from playhead.streams.partitions import Partition
from playhead.streams.positions import START, Position
from playhead.streams.telemetry import about

COUNT, BYTES = 500, 8 * 1024 * 1024
"""Events that are read at once, and about how many bytes of them."""

_LOG_AWAY = "check that `playhead run log` runs"


class PartitionFeed:
    """Gives the events of a partition behind a position, in order, each once."""

    def __init__(self, stream: PartitionStream, log: Path | None, partition: Partition, position: Position) -> None:
        self.partition, self.position = partition, position
        self.waiting: str | None = None
        """Why it gives nothing although there may be something."""
        self._stream = stream
        self._log = None if log is None else Follower(log, partition)
        self._reading: Generator[Recorded, None, None] | None = None
        self._held: Recorded | None = None
        """What was read of the log, and is to come behind a gap."""
        self._sequence: int | None = 0 if position == START else None
        self._is_logged = position == START
        """Whether the log is known to have the event at our position."""
        self._accepted: Position | None = None
        """The entry that may come next, whatever is missing before it."""
        self._begun = False
        self._say = structlog.get_logger().bind(partition=str(partition))

    def read(self) -> Sequence[Recorded]:
        """What comes next, at most COUNT events; nothing if there is nothing yet, or if it is `waiting`.

        Raises:
            EventsGone: events are lost; the next call passes over them.
            LogCorrupt: the log is damaged where it is needed.
            RedisError: Redis did not answer.
        """
        self.waiting = None
        if not self._begun:
            self._begin()
        if self._reading is not None:
            if events := self._from_log():
                return events
            self._stop_reading()
        found = self._stream.behind(self.position, COUNT, BYTES)
        if found.is_there and self._sequence is None:
            self._sequence = found.sequence
        if found.is_there or (found.entries and _position_of(found.entries[0]) == self._accepted):
            return self._from_stream(found.entries)
        return self._bridge()

    def close(self) -> None:
        """Close the file that is open, if one is."""
        self._stop_reading()

    def _begin(self) -> None:
        """Start in the log if it has the event at our position; the events behind it are the right ones then."""
        if self._readable is not None and (self.position == START or self._find_in_log()):
            self._read_log()
        self._begun = True

    @property
    def _readable(self) -> Follower | None:
        return self._log if self._log is not None and self._log.is_readable else None

    def _find_in_log(self) -> bool:
        """Whether the log has the event at our position; then its sequence number is known, too."""
        if self._log is None:
            return False
        events = self._log.behind(just_before(self.position))
        found = next(events, None)
        events.close()
        if found is None or found.position != self.position:
            return False
        self._sequence = found.sequence if self._sequence is None else self._sequence
        self._is_logged = True
        return True

    def _read_log(self) -> None:
        self._stop_reading()
        if self._log is not None:
            self._reading = self._log.behind(self.position)

    def _stop_reading(self) -> None:
        self._held = None
        if self._reading is not None:
            self._reading.close()
            self._reading = None

    def _from_log(self) -> Sequence[Recorded]:
        """Events that the log has next, up to a gap."""
        assert self._reading is not None
        events: list[Recorded] = []
        size = 0
        while len(events) < COUNT and size < BYTES and (recorded := self._held or next(self._reading, None)):
            self._held = None
            if (missing := self._missing_before(recorded)) > 0:
                self._held = recorded
                if events:
                    break
                self._accepted = recorded.position
                raise EventsGone(self.partition, missing, self.position, recorded.position, log_readable=True)
            events.append(recorded)
            size += len(recorded.event.data)
            self._sequence = self._sequence if recorded.sequence is None else recorded.sequence
            self.position, self._is_logged = recorded.position, True
        return events

    def _missing_before(self, recorded: Recorded) -> int:
        if recorded.sequence is None or self._sequence is None or recorded.position == self._accepted:
            return 0
        return recorded.sequence - self._sequence - 1

    def _from_stream(self, entries: Sequence[RawEntry]) -> Sequence[Recorded]:
        """The events of entries that follow our position, up to a gap."""
        events: list[Recorded] = []
        repeated = self._repeated(entries)
        for entry in entries:
            position, sequence = _position_of(entry), sequence_of(entry)
            if not position.is_usable and self._stream.logged() < position:
                self.waiting = f"the entry {position} has an id that no clock gives, until it has another: {_LOG_AWAY}"
                return events
            if position in repeated:
                self._say.warning("the same event again, passed over", **about(entry))
            elif not self._may_follow(position, sequence):
                return events or self._bridge()
            else:
                self._sequence = self._sequence if sequence is None else sequence
                try:
                    events.append(decode(entry))
                except InvalidEvent as error:  # the log sets it aside, too
                    self._say.error("an entry that is no event, passed over", reason=str(error), **about(entry))
            self.position, self._is_logged, self._accepted = position, False, None
        return events

    def _may_follow(self, position: Position, sequence: int | None) -> bool:
        known = None not in (sequence, self._sequence)
        return position == self._accepted or not known or sequence == (self._sequence or 0) + 1

    def _repeated(self, entries: Sequence[RawEntry]) -> frozenset[Position]:
        """Entries whose event stands in the stream already: another client added it again."""
        doubtful: list[tuple[str, Position]] = []
        expected = (self._sequence or 0) + 1
        for entry in entries:
            sequence = sequence_of(entry)
            if sequence is not None and sequence >= expected:
                expected = sequence + 1
            elif (event_id := _id_of(entry)) is not None:
                doubtful.append((event_id, _position_of(entry)))
        if not doubtful:
            return frozenset()
        first = self._stream.first_positions([event_id for event_id, _ in doubtful])
        return frozenset(
            position
            for (_, position), known in zip(doubtful, first, strict=True)
            if known is not None and known < position
        )

    def _bridge(self) -> Sequence[Recorded]:
        """Come from our position to what the stream has behind it; or else stay, and say why."""
        # In this order: what the log writer is past when it is asked, the log has when it is read.
        logged, state = self._stream.logged(), self._stream.state()
        found = self._stream.behind(self.position, COUNT, BYTES)
        first = _First.of(found.entries, state)
        if found.is_there and (not found.entries or self._may_follow(first.position, first.sequence)):
            return self._from_stream(found.entries)
        log = self._readable
        if log is not None and (events := self._bridge_by_log(found, state)):
            return events
        if self._was_set_back(found, state, log):
            return ()
        missing = self._missing(first, log)
        if missing == 0 or (missing is not None and missing < 0 and (state.is_compared or not found.entries)):
            if missing and found.entries:
                self._say.warning("sequence goes back", sequence=first.sequence, before=self._sequence)
            self._accepted = first.position
            return self._from_stream(found.entries)
        if log is not None and missing is not None and missing > 0 and logged < first.position:
            self.waiting = f"events up to {first.position} are gone from the stream and not in the log yet: {_LOG_AWAY}"
            return ()
        if not state.is_compared and (missing is None or missing < 0):
            self.waiting = f"the log writer has not looked at this stream since the server started: {_LOG_AWAY}"
            return ()
        after = self.position
        if found.entries:
            self._accepted = first.position
        else:  # everything is gone up to the end
            self.position, self._sequence, self._is_logged = state.last, state.sequence, False
        raise EventsGone(self.partition, missing, after, first.position, log_readable=log is not None)

    def _missing(self, first: "_First", log: Follower | None) -> int | None:
        """How many events are missing before what comes first, negative if it has come already, None if nobody knows.

        With the log, there are none unless numbers say so: it was read to its end.
        """
        if self._sequence is None:
            return 0 if log is not None or not first.is_entry else None
        if first.sequence is None:
            return 0
        return first.sequence - self._sequence - (1 if first.is_entry else 0)

    def _bridge_by_log(self, found: Behind, state: State) -> Sequence[Recorded]:
        """What the log has behind our position, if that is on record."""
        if not (found.is_there or self._is_logged or self._find_in_log()) and _restart_before(self.position, state):
            return ()
        self._read_log()
        events = self._from_log()
        if not events:
            self._stop_reading()
        return events

    def _was_set_back(self, found: Behind, state: State, log: Follower | None) -> bool:
        """Whether Redis lost the event at our position, and the stream went on behind the log: so do we then."""
        if found.is_there or self._is_logged or self.position == START:
            return False
        restart = _restart_before(self.position, state)
        if restart is None or (log is None and not self._is_beyond(restart, found)):
            return False
        # Whoever read on in a stream that was set back, before that was noticed, lacks what only the log has.
        back = restart.common if START < restart.common < restart.tail and log is not None else restart.tail
        self._say.error("redis lost its state: continuing behind the log", lost=str(self.position), after=str(back))
        self.position, self._is_logged, self._accepted = back, log is not None, None
        self._sequence = restart.sequence if back == restart.tail else None
        if log is not None:
            self._read_log()
        return True

    def _is_beyond(self, restart: Restart, found: Behind) -> bool:
        """Whether our position is one that the restart took away, as far as numbers tell."""
        first = sequence_of(found.entries[0]) if found.entries else None
        return self._sequence is not None and self._sequence > restart.sequence and (first or 0) <= self._sequence


class _First(msgspec.Struct, frozen=True):
    """The first entry behind a position; the end of the stream if there is none."""

    position: Position
    sequence: int | None
    is_entry: bool

    @classmethod
    def of(cls, entries: Sequence[RawEntry], state: State) -> "_First":
        if not entries:
            return cls(state.last, state.sequence, is_entry=False)
        return cls(Position.parse(entries[0].entry_id), sequence_of(entries[0]), is_entry=True)


def _restart_before(position: Position, state: State) -> Restart | None:
    """The last restart that left a position behind."""
    before = [restart for restart in state.restarts if restart.tail < position]
    return max(before, key=lambda restart: restart.tail, default=None)


def _position_of(entry: RawEntry) -> Position:
    return Position.parse(entry.entry_id)


def _id_of(entry: RawEntry) -> str | None:
    for name, value in zip(entry.fields[::2], entry.fields[1::2], strict=False):
        if name == b"ce_id":
            return value.decode("utf-8", "backslashreplace")
    return None
