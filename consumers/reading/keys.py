"""The keys of Playhead in Redis, each with its type: one of another type, made by hand, stops who needs it."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

import msgspec
from redis import Redis, RedisCluster

from playhead.consumers.reading.parked import parked_key, positions_key, retry_key, subjects_key
from playhead.consumers.reading.recovery import lost_key, restarts_key
from playhead.streams.names import CLOCKS, REPLAYS, again_key, presence_key, replays_key, reports_key, waiting_key
from playhead.streams.partitions import Partition


class WrongKey(msgspec.Struct, frozen=True):
    """A key that is not what it should be."""

    key: str
    found: str
    expected: str

    @property
    def problem(self) -> str:
        """What is wrong, as a sentence."""
        return f"{self.key} is a {self.found}, not a {self.expected}"

    @property
    def advice(self) -> str:
        """What to do."""
        return (
            f"rename it (`redis-cli RENAME {self.key!r} old`), find out who wrote it, and restart `playhead run log`,"
            " which compares the stream with the log: docs/recovery.md"
        )


def find_wrong_keys(client: "Redis | RedisCluster", readers: Mapping[Partition, Iterable[str]]) -> Iterator[WrongKey]:
    """Look at every key of partitions and their consumers, and at those of all."""
    for partition, names in readers.items():
        yield from _wrong(client, dict(_keys(partition, names)))
    for key in (REPLAYS, CLOCKS):  # not in the slot of any partition
        yield from _wrong(client, {key: "hash"})


def _wrong(client: "Redis | RedisCluster", expected: Mapping[str, str]) -> Iterator[WrongKey]:
    with cast("Any", client).pipeline(transaction=False) as pipeline:
        for key in expected:
            pipeline.type(key)
        found = [kind.decode() for kind in pipeline.execute()]
    for (key, wanted), kind in zip(expected.items(), found, strict=True):
        if kind not in {wanted, "none"}:
            yield WrongKey(key, kind, wanted)


def _keys(partition: Partition, names: Iterable[str]) -> Iterator[tuple[str, str]]:
    key = partition.key
    yield key, "stream"
    yield f"{key}:meta", "hash"
    yield f"{key}:ids:0", "hash"
    yield f"{key}:ids:1", "hash"
    yield reports_key(key), "hash"
    yield replays_key(key), "hash"
    yield restarts_key(partition), "hash"
    yield lost_key(partition), "list"
    for name in names:
        yield presence_key(key, name), "string"
        yield f"{presence_key(key, name)}:epoch", "string"
        yield f"{key}:attempts:{name}", "hash"
        yield parked_key(partition, name), "stream"
        yield subjects_key(partition, name), "hash"
        yield positions_key(partition, name), "hash"
        yield retry_key(partition, name), "set"
        yield f"{key}:due:{name}", "zset"
        yield waiting_key(key, name), "hash"
        yield again_key(key, name), "stream"
        yield f"{again_key(key, name)}:due:{name}", "zset"
        yield waiting_key(again_key(key, name), name), "hash"
