"""Whether the checkpoints of projections in Postgres are ahead of their streams."""

import time
from collections.abc import Iterator, Sequence
from typing import Any, cast

import msgspec
from redis import Redis, RedisCluster

from playhead.checks.check import Check
from playhead.checks.table_marks import marks_of_tables
from playhead.consumers.reading.unlogged import SinkMark
from playhead.projections.postgres import Connection
from playhead.streams.partitions import Partition
from playhead.streams.positions import START, Position
from playhead.streams.redis.stream_info import last_position


class Ahead(msgspec.Struct, frozen=True):
    """A checkpoint behind which no event of the stream stands, so that new ones would not be applied."""

    projection: str
    partition: Partition
    position: Position
    last: Position
    in_files: bool = False

    @property
    def problem(self) -> str:
        """What is wrong, as a sentence."""
        return f"the checkpoint {self.position} is ahead of the stream, which ends at {self.last}, and of the clock"

    @property
    def advice(self) -> str:
        """What to do."""
        if self.in_files:
            return (
                "check that the files and REDIS_URL are of one system; then stop the consumer, remove"
                f" `.staging/checkpoints` where {self.projection} writes, and start it"
            )
        reset = "UPDATE playhead_checkpoints SET position_ms = 0, position_counter = 0"
        return (
            "check that DATABASE_URL and REDIS_URL are of one system; then set it back, and it reads the log again:"
            f" {reset} WHERE projection = '{self.projection}' AND source = '{self.partition}'"
        )


def find_ahead(
    client: "Redis | RedisCluster", connection: Connection, files: Sequence[SinkMark] = ()
) -> Iterator[Ahead]:
    """Compare every checkpoint with its stream; `files` are those that are not in Postgres."""
    redis = cast("Any", client)
    now = Position(int(time.time() * 1000), 0)
    for mark in (*marks_of_tables(connection), *files):
        partition, position = mark.partition, mark.position
        if position <= now:
            continue
        is_there = redis.type(partition.key) == b"stream"  # of another type, `find_wrong_keys` says so
        last = last_position(client, partition) if is_there else START
        if position > last:
            yield Ahead(mark.projection, partition, position, last, in_files=mark in files)


def checkpoints(connection: Connection) -> dict[str, dict[Partition, Position]]:
    """Every checkpoint in Postgres, by projection and partition; none if there is no table of them."""
    found: dict[str, dict[Partition, Position]] = {}
    for mark in marks_of_tables(connection):
        found.setdefault(mark.projection, {})[mark.partition] = mark.position
    return found


def check_checkpoints(
    client: "Redis | RedisCluster", connection: Connection, files: Sequence[SinkMark] = ()
) -> Iterator[Check]:
    """Say which checkpoints are ahead of their streams."""
    ahead = list(find_ahead(client, connection, files))
    for one in ahead:
        yield Check(f"checkpoint {one.projection} {one.partition}", "fail", one.problem, one.advice)
    if not ahead:
        yield Check("checkpoints", "ok", "none is ahead of its stream")
