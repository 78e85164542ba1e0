"""The keys of Playhead in Redis, each with its type: one of another type, made by hand, stops who needs it."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

import msgspec
from redis import Redis, RedisCluster

from playhead.consumers.halts import read_halts
from playhead.consumers.reading.parked import retry_key, subjects_key
from playhead.consumers.reading.recovery import lost_key, restarts_key
from playhead.streams.entries import sequence_number
from playhead.streams.names import (
    CLOCKS,
    HALTS,
    REPLAYS,
    STREAMS,
    again_key,
    meta_key,
    parked_key,
    parked_positions_key,
    presence_key,
    replays_key,
    reports_key,
    waiting_key,
)
from playhead.streams.partitions import Partition
from playhead.streams.printable import printable
from playhead.streams.redis.partition_counts import count_of, noted
from playhead.streams.redis.stream_info import newest_sequence

_FIND_OUT = "find out who wrote it, and restart `playhead run log`, which compares the stream with the log"


class WrongKey(msgspec.Struct, frozen=True):
    """A key that is not what it should be: what is wrong, as a sentence, and what to do."""

    key: str
    problem: str
    advice: str


def find_wrong_keys(client: "Redis | RedisCluster", readers: Mapping[Partition, Iterable[str]]) -> Iterator[WrongKey]:
    """Look at every key of partitions and their consumers, and at those of all."""
    counts = Counter(partition.stream for partition in readers)
    for partition, names in readers.items():
        yield from _wrong_of(client, partition, dict(_keys(partition, names)), counts[partition.stream])
    for key in (REPLAYS, CLOCKS):  # not in the slot of any partition
        yield from _wrong(client, {key: "hash"})
    for key, look in ((HALTS, _wrong_halts), (STREAMS, _wrong_records)):
        wrong = list(_wrong(client, {key: "hash"}))
        yield from wrong or look(client)


def find_strays(client: "Redis | RedisCluster", counts: Mapping[str, int]) -> Iterator[WrongKey]:
    """Look for streams of partitions that there are not, which nobody reads."""
    for stream, count in counts.items():
        for partition, other in noted(client, stream).items():
            if partition.number >= count and (entries := int(cast("Any", client).xlen(partition.key))):
                yield WrongKey(
                    partition.key,
                    f"{partition.key} holds {entries} entries of {other} partitions, but {stream} has {count}",
                    "restart `playhead run log`, which moves them to the partitions of their subjects",
                )


def _wrong_of(
    client: "Redis | RedisCluster", partition: Partition, expected: Mapping[str, str], count: int
) -> Iterator[WrongKey]:
    """Look at the keys of a partition, and at what `append` keeps beside the stream, in one round trip."""
    meta, *memories = _noted(partition)
    with cast("Any", client).pipeline(transaction=False) as pipeline:
        for key in expected:
            pipeline.type(key)
        pipeline.xinfo_stream(partition.key)  # before the number, which is written with a later entry
        pipeline.hmget(meta, "partitions", "sequence", "highest")
        for key in memories:
            pipeline.exists(key)
            pipeline.hget(key, "")
        replies = cast("list[Any]", pipeline.execute(raise_on_error=False))
    kinds, content = replies[: len(expected)], replies[len(expected) :]
    for reply in (*kinds, *content[1:]):
        if isinstance(reply, Exception) and "WRONGTYPE" not in str(reply):
            raise reply
    wrong = list(_wrong_kinds(expected, kinds))
    yield from wrong
    if not {one.key for one in wrong} & {partition.key, *_noted(partition)}:
        yield from _wrong_content(partition, count, content)


def _wrong(client: "Redis | RedisCluster", expected: Mapping[str, str]) -> Iterator[WrongKey]:
    with cast("Any", client).pipeline(transaction=False) as pipeline:
        for key in expected:
            pipeline.type(key)
        yield from _wrong_kinds(expected, pipeline.execute())


def _wrong_kinds(expected: Mapping[str, str], kinds: Sequence[bytes]) -> Iterator[WrongKey]:
    for (key, wanted), kind in zip(expected.items(), kinds, strict=True):
        if (found := kind.decode()) not in {wanted, "none"}:
            rename = f"rename it (`redis-cli RENAME {key!r} old`), {_FIND_OUT}: docs/recovery.md"
            yield WrongKey(key, f"{key} is a {found}, not a {wanted}", rename)


def _wrong_records(client: "Redis | RedisCluster") -> Iterator[WrongKey]:
    for field, value in cast("Any", client).hgetall(STREAMS).items():
        if count_of(value) is None:
            yield _wrong_field(STREAMS, field.decode("utf-8", "backslashreplace"), "is no number of partitions")


def _wrong_halts(client: "Redis | RedisCluster") -> Iterator[WrongKey]:
    for name, halt in read_halts(client).items():
        if halt.state == "unknown":
            advice = f"`playhead consumers resume {name}` removes it; pause or retire it again if that was meant"
            yield WrongKey(HALTS, f"{printable(name)} of {HALTS} says neither paused nor retired", advice)


def _wrong_content(partition: Partition, count: int, content: Sequence[Any]) -> Iterator[WrongKey]:
    """What is wrong with the fields that `append` keeps."""
    meta, *memories = _noted(partition)
    stream, (recorded, sequence, highest), *generations = content
    newest = None if isinstance(stream, Exception) else newest_sequence(stream)
    if recorded is not None and recorded != str(count).encode():
        shown = recorded.decode("ascii", "backslashreplace")
        yield _wrong_field(meta, "partitions", f"is {shown}, but {partition.stream} has {count}")
    for field, value in (("sequence", sequence), ("highest", highest)):
        if value is not None and sequence_number(value) is None:
            yield _wrong_field(meta, field, "is no number")
    number, most = sequence_number(sequence or b"0"), sequence_number(highest or b"0")
    if number is not None and number < max(newest or 0, most or 0):
        yield _wrong_field(meta, "sequence", f"is {number}, lower than that of an event in the stream")
    for key, is_there, generation in zip(memories, generations[::2], generations[1::2], strict=True):
        if is_there and sequence_number(generation) is None:
            yield WrongKey(
                key,
                f"{key} has no generation, so that ids of events are not remembered",
                f"delete it (`redis-cli DEL {key!r}`); an event of the last day that is appended again after that is"
                " there twice",
            )


def _wrong_field(key: str, field: str, problem: str) -> WrongKey:
    delete = f"delete it (`redis-cli HDEL {key!r} {field}`)"
    return WrongKey(key, f"{field} of {key} {problem}", f"{delete}, {_FIND_OUT}: docs/recovery.md")


def _noted(partition: Partition) -> tuple[str, str, str]:
    """The hashes that `append` keeps beside a stream."""
    return meta_key(partition.key), f"{partition.key}:ids:0", f"{partition.key}:ids:1"


def _keys(partition: Partition, names: Iterable[str]) -> Iterator[tuple[str, str]]:
    key = partition.key
    yield key, "stream"
    yield from dict.fromkeys(_noted(partition), "hash").items()
    yield reports_key(key), "hash"
    yield replays_key(key), "hash"
    yield restarts_key(partition), "hash"
    yield lost_key(partition), "list"
    for name in names:
        yield presence_key(key, name), "string"
        yield f"{presence_key(key, name)}:epoch", "string"
        yield f"{key}:attempts:{name}", "hash"
        yield parked_key(partition.key, name), "stream"
        yield subjects_key(partition, name), "hash"
        yield parked_positions_key(partition.key, name), "hash"
        yield retry_key(partition, name), "set"
        yield f"{key}:due:{name}", "zset"
        yield waiting_key(key, name), "hash"
        yield again_key(key, name), "stream"
        yield f"{again_key(key, name)}:due:{name}", "zset"
        yield waiting_key(again_key(key, name), name), "hash"
