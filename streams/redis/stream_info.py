"""What Redis says of a partition's stream and its consumer groups; a stream that is not there is at the beginning."""

from collections.abc import Mapping
from typing import Any, cast

from redis import Redis, RedisCluster
from redis.exceptions import ResponseError

from playhead.streams.entries import sequence_number
from playhead.streams.partitions import Partition
from playhead.streams.positions import START, Position


def is_missing(error: ResponseError) -> bool:
    """Whether Redis says that there is no such stream."""
    return "no such key" in str(error)


def last_position(client: "Redis | RedisCluster", partition: Partition) -> Position:
    """The last position that a partition ever had, even if that entry is trimmed."""
    try:
        return Position.parse(cast("Any", client).xinfo_stream(partition.key)["last-generated-id"])
    except ResponseError as error:
        if not is_missing(error):
            raise
        return START


def newest_sequence(info: Mapping[str, Any]) -> int | None:
    """The sequence number of the last entry in what XINFO STREAM says, None if there is none or it has none."""
    last = info["last-entry"]
    return None if not last else sequence_number(last[1].get(b"ce_sequence"))


def groups_of(client: "Redis | RedisCluster", partition: Partition) -> dict[str, Mapping[str, Any]]:
    """The consumer groups of a partition, by name."""
    try:
        found = cast("Any", client).xinfo_groups(partition.key)
    except ResponseError as error:
        if not is_missing(error):
            raise
        return {}
    return {group["name"].decode("utf-8", "backslashreplace"): group for group in found}


def group_position(client: "Redis | RedisCluster", partition: Partition, name: str) -> Position:
    """How far a consumer is in a partition; the beginning if it has read nothing."""
    group = groups_of(client, partition).get(name)
    return START if group is None else Position.parse(group["last-delivered-id"])
