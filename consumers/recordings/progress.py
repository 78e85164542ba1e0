"""How far the projection `recordings` has come, and whether its tables can be relied on."""

from typing import Any, cast

from redis import Redis, RedisCluster

from playhead.consumers.reading.parked import subjects_key
from playhead.consumers.reading.recovery import restarts_key
from playhead.projections.postgres import SQL, Connection
from playhead.streams.names import replays_key
from playhead.streams.partitions import Partition, partition_of
from playhead.streams.positions import START, Position
from playhead.streams.redis.partition_counts import PartitionCounts
from playhead.streams.redis.stream_info import groups_of, last_position

BEHIND = "the projection recordings is behind: see that it runs"
_GROUP = _STREAM = "recordings"
_CHECKPOINT = (SQL / "checkpoint_read.sql").read_bytes()


class Progress:
    """Positions of a stream and of the projection's group, which also moves past what the projection sets aside."""

    def __init__(self, client: "Redis | RedisCluster") -> None:
        self._client = cast("Any", client)
        self._counts = PartitionCounts(lambda: client)

    @property
    def partitions(self) -> list[Partition]:
        """Every partition of recordings, as many as are recorded."""
        return [Partition(_STREAM, number) for number in range(self._counts.of(_STREAM))]

    def partition_of(self, subject: str) -> Partition:
        """The partition of a subject."""
        return partition_of(_STREAM, subject, self._counts.of(_STREAM))

    def newest(self, partition: Partition) -> Position:
        """The last position of a partition."""
        found = cast("list[Any]", self._client.xrevrange(partition.key, count=1))
        return Position.parse(found[0][0]) if found else START

    def reached(self, connection: Connection, partition: Partition) -> Position:
        """Up to where every event took effect in the projection, or is parked there.

        The group moves past what is set aside, the checkpoint does not; a group that was lost is behind it.
        """
        group = groups_of(self._client, partition).get(_GROUP)
        delivered = START if group is None else Position.parse(group["last-delivered-id"])
        return max(delivered, _checkpoint(connection, partition))

    def doubt(self, connection: Connection, partition: Partition) -> str | None:
        """Why the tables may lack something that was recorded, None if they lack nothing but what is parked."""
        last = last_position(self._client, partition)
        if _checkpoint(connection, partition) > last:
            return "Redis lost its state, and the stream does not go on where the projection recordings is yet"
        if self.reached(connection, partition) < last:
            return BEHIND
        restarts = self._hash(restarts_key(partition))
        honoured = int(restarts.get(f"honoured:{_GROUP}", 0))
        if any(name.isdigit() and int(name) > honoured for name in restarts):
            return "Redis lost its state, and the projection recordings has not read from the log what that lacks"
        if any(_GROUP in names.split(",") for names in self._hash(replays_key(partition.key)).values()):
            return "a replay into the projection recordings has not ended: see `playhead status`"
        return None

    def parks(self, partition: Partition, subject: str) -> bool:
        """Whether the projection has events of a subject parked, which others wait behind."""
        return self._client.hget(subjects_key(partition, _GROUP), subject) is not None

    def has_work(self, partition: Partition, worker: str) -> bool:
        """Whether a worker has events left to take, in progress or deferred; False if it never ran."""
        group = groups_of(self._client, partition).get(worker)
        if group is None:
            return False
        last = last_position(self._client, partition)
        return group["pending"] > 0 or Position.parse(group["last-delivered-id"]) < last

    def _hash(self, key: str) -> dict[str, str]:
        names: list[bytes] = self._client.hkeys(key)  # an operator's user may not HGETALL
        values: list[bytes | None] = self._client.hmget(key, names) if names else []
        return {name.decode(): value.decode() for name, value in zip(names, values, strict=True) if value is not None}


def _checkpoint(connection: Connection, partition: Partition) -> Position:
    row = connection.execute(_CHECKPOINT, (_GROUP, str(partition))).fetchone()
    return START if row is None else Position(*row)
