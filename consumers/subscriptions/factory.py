"""`subscribe`, which makes subscriptions."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar, cast, overload

import msgspec

from playhead.consumers.subscriptions.feed import PartitionFeed
from playhead.consumers.subscriptions.kept import KeptCursor
from playhead.consumers.subscriptions.partitions_check import PartitionsCheck
from playhead.consumers.subscriptions.stream import PartitionStream
from playhead.consumers.subscriptions.subscription import Subscription
from playhead.eventlog.selection import Selection, Types, streams_of
from playhead.streams.cursors import Cursor, cursor_of
from playhead.streams.errors import InvalidSetting
from playhead.streams.partitions import MOST_PARTITIONS, Partition
from playhead.streams.positions import START
from playhead.streams.redis.connections import DEFAULT_TIMEOUT, RedisAddress, connect
from playhead.streams.redis.exposure import redis_exposure

_Struct = TypeVar("_Struct", bound=msgspec.Struct)


@overload
def subscribe(
    redis: str,
    *,
    log: str | Path | None,
    type: type[_Struct] | Sequence[type[_Struct]],
    stream: str | Sequence[str] | None = None,
    subject: str | None = None,
    name: str | None = None,
    cursors: str | Path | None = None,
    after: Cursor | str | None = None,
    partitions: int | None = None,
    timeout: float = DEFAULT_TIMEOUT,
    allow_insecure: bool = False,
) -> Subscription[_Struct]: ...


@overload
def subscribe(
    redis: str,
    *,
    log: str | Path | None,
    type: str | Sequence[str] | None = None,
    stream: str | Sequence[str] | None = None,
    subject: str | None = None,
    name: str | None = None,
    cursors: str | Path | None = None,
    after: Cursor | str | None = None,
    partitions: int | None = None,
    timeout: float = DEFAULT_TIMEOUT,
    allow_insecure: bool = False,
) -> Subscription: ...


def subscribe(
    redis: str,
    *,
    log: str | Path | None,
    type: Types | None = None,
    stream: str | Sequence[str] | None = None,
    subject: str | None = None,
    name: str | None = None,
    cursors: str | Path | None = None,
    after: Cursor | str | None = None,
    partitions: int | None = None,
    timeout: float = DEFAULT_TIMEOUT,
    allow_insecure: bool = False,
) -> Subscription[Any]:
    """Subscribe to every event from the beginning, or behind a cursor, and then to each new one.

    `redis` is a URL as for `Producer`, `log` the directory of EVENT_LOG_DIR. With None, or a directory that this
    process cannot read, only the stream is read, and EventsGone is raised if it no longer has the beginning. `type` and
    `subject` choose as in `EventLog.read`; `stream` names streams, by default those of the types, or all that are
    declared. The number of partitions is recorded for each stream; if `partitions` is another one, it is refused.

    With `name`, the cursor is kept in the file `NAME.cursor` of the directory `cursors`, by one process at a time, and
    `after` is where a new name begins. Without one, keep the `cursor` of an event yourself, and pass it as `after`.

    Raises:
        InvalidSetting: the URL, a name or a cursor cannot be used, a name has no directory, or there is no such stream.
        PartitionsChanged: `partitions` is another number than that of a stream.
        SubscriptionInUse: another process has the name.
        InvalidEvent: a type is not declared, and no `stream` is named.
    """
    address = RedisAddress.parse(redis)
    if not allow_insecure and (problem := redis_exposure(address)) is not None:
        raise InvalidSetting(f"Redis {problem}, or pass allow_insecure=True if you trust everyone on the network")
    if partitions is not None and not 0 < partitions <= MOST_PARTITIONS:
        raise InvalidSetting(f"partitions is {partitions}; it must be a number from 1 to {MOST_PARTITIONS}")
    if (name is None) != (cursors is None):
        raise InvalidSetting(
            "a subscription with a name needs a directory for its cursor: pass name= and cursors=, or neither"
        )
    chosen, start = Selection(type, subject), cursor_of(after)
    directory = None if log is None else Path(log)
    streams = streams_of(stream, directory) or chosen.streams
    kept = None if name is None or cursors is None else KeptCursor(Path(cursors), name)
    try:
        start = start if kept is None else kept.load() or start
        client = connect(address, timeout)
        cast("Any", client).set_response_callback("XREAD", _as_it_comes)
        check = PartitionsCheck(client, streams, partitions, directory)
        counts = check.begin()
    except BaseException:
        if kept is not None:
            kept.close()
        raise
    sources = [
        (partition, PartitionStream(client, partition))
        for partition in (Partition(name, number) for name in streams for number in range(counts[name]))
    ]
    feeds = [
        PartitionFeed(source, directory, partition, start.positions.get(partition, START))
        for partition, source in sources
    ]
    return Subscription(client, chosen, feeds, start, kept, check)


def _as_it_comes(reply: object, **_: object) -> object:
    return reply
