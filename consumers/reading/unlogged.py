"""What the log lacks at its end, although Redis or a sink shows that it was appended."""

from collections.abc import Awaitable, Callable, Iterable, Sequence

import msgspec

from playhead.eventlog.ends import LogEnd
from playhead.streams.partitions import Partition
from playhead.streams.positions import START, Position

NOWHERE = "nowhere"
"""Why events count as lost that neither the stream nor the log has."""
UNLOGGED = "the log lacks them"
"""Why events count as lost for the log that it had, or that a sink has."""


class SinkMark(msgspec.Struct, frozen=True):
    """How far a sink has come in a partition, and the number of the last event there, None if it is not known."""

    projection: str
    partition: Partition
    position: Position
    sequence: int | None


FindMarks = Callable[[], Awaitable[Sequence[SinkMark]]]
"""Gives the marks of every sink that has some, as they were at that time or before."""


class StreamState(msgspec.Struct, frozen=True):
    """What Redis knows of a partition: its last position and sequence number, and the first entry behind the end of the
    log with its number, if it has one. `acknowledged` is how far the log writer came, `parked` counts the entries
    behind the end of the log that it set aside.
    """

    last: Position
    sequence: int
    behind: Position | None
    behind_sequence: int | None
    acknowledged: Position
    parked: int = 0


class Unlogged(msgspec.Struct, frozen=True):
    """So many events are missing in the log behind `after`, up to `before`; `is_known`: the log or a sink had them."""

    partition: Partition
    count: int
    after: Position
    before: Position
    is_known: bool


def find_missing(partition: Partition, end: LogEnd, stream: StreamState, marks: Iterable[SinkMark]) -> Unlogged | None:
    """Compare the end of the log with the stream and the sinks; what is only on its way to the log is not missing.

    Read the marks first, then the end, then the stream: what has moved meanwhile is not missing either.
    """
    if stream.behind is None:
        missing = stream.sequence - end.sequence
    else:
        missing = 0 if stream.behind_sequence is None else stream.behind_sequence - end.sequence - 1
    missing = max(0, missing - stream.parked)
    before, is_known = stream.behind or stream.last, stream.acknowledged > end.position
    if not missing:
        before, is_known = START, False
    for mark in marks:
        if mark.partition == partition and (lacking := _lacking(mark, end, stream)) > 0:
            missing, before, is_known = max(missing, lacking), max(before, mark.position), True
    return Unlogged(partition, missing, end.position, before, is_known) if missing else None


def _lacking(mark: SinkMark, end: LogEnd, stream: StreamState) -> int:
    """How many events up to a mark neither the log nor the stream has."""
    if mark.position <= end.position:
        return 0
    if stream.behind is not None and stream.behind <= mark.position:  # the sink read it there, and the log will
        return 0 if stream.behind_sequence is None else stream.behind_sequence - end.sequence - 1
    if mark.sequence is None:
        return int(mark.position > stream.last)  # one at least
    return mark.sequence - end.sequence
