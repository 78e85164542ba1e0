"""How far the projection `recordings` has come, as its group says."""

from typing import Any, cast

from redis import Redis, RedisCluster
from redis.exceptions import ResponseError

from streams.partitions import Partition
from streams.positions import START, Position

_GROUP = b"recordings"


class Progress:
    """Positions of a stream and of the projection's group, which also moves past what the projection sets aside."""

    def __init__(self, client: "Redis | RedisCluster") -> None:
        self._client = cast("Any", client)

    def newest(self, partition: Partition) -> Position:
        """The last position of a partition."""
        found = cast("list[Any]", self._client.xrevrange(partition.key, count=1))
        return Position.parse(found[0][0]) if found else START

    def reached(self, partition: Partition) -> Position:
        """Up to where every event took effect in the projection, or is parked there."""
        try:
            groups = self._client.xinfo_groups(partition.key)
        except ResponseError as error:
            if "no such key" not in str(error):
                raise
            return START
        found = (Position.parse(group["last-delivered-id"]) for group in groups if group["name"] == _GROUP)
        return next(found, START)
