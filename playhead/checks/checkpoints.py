"""Whether the checkpoints of projections in Postgres are ahead of their streams."""

import time
from collections.abc import Iterator
from typing import Any, cast

import msgspec
from redis import Redis, RedisCluster

from playhead.checks.check import Check
from playhead.projections.postgres import SQL, Connection
from playhead.streams.partitions import Partition
from playhead.streams.positions import START, Position
from playhead.streams.redis.stream_info import last_position

_ALL = (SQL / "checkpoints_all.sql").read_bytes()


class Ahead(msgspec.Struct, frozen=True):
    """A checkpoint behind which no event of the stream stands, so that new ones would not be applied."""

    projection: str
    partition: Partition
    position: Position
    last: Position

    @property
    def problem(self) -> str:
        """What is wrong, as a sentence."""
        return f"the checkpoint {self.position} is ahead of the stream, which ends at {self.last}, and of the clock"

    @property
    def advice(self) -> str:
        """What to do."""
        reset = "UPDATE playhead_checkpoints SET position_ms = 0, position_counter = 0"
        return (
            "check that DATABASE_URL and REDIS_URL are of one system; then set it back, and it reads the log again:"
            f" {reset} WHERE projection = '{self.projection}' AND source = '{self.partition}'"
        )


def find_ahead(client: "Redis | RedisCluster", connection: Connection) -> Iterator[Ahead]:
    """Compare every checkpoint with its stream."""
    redis = cast("Any", client)
    now = Position(int(time.time() * 1000), 0)
    for projection, positions in checkpoints(connection).items():
        for partition, position in positions.items():
            if position <= now:
                continue
            is_there = redis.type(partition.key) == b"stream"  # of another type, `find_wrong_keys` says so
            last = last_position(client, partition) if is_there else START
            if position > last:
                yield Ahead(projection, partition, position, last)


def checkpoints(connection: Connection) -> dict[str, dict[Partition, Position]]:
    """Every checkpoint, by projection and partition; none if there is no table of them."""
    found: dict[str, dict[Partition, Position]] = {}
    row = connection.execute("SELECT to_regclass('playhead_checkpoints') IS NOT NULL").fetchone()
    if row is None or not row[0]:
        return found
    for projection, source, milliseconds, counter in connection.execute(_ALL).fetchall():
        stream, _, number = str(source).rpartition("/")
        if number.isdecimal():
            found.setdefault(str(projection), {})[Partition(stream, int(number))] = Position(milliseconds, counter)
    return found


def check_checkpoints(client: "Redis | RedisCluster", connection: Connection) -> Iterator[Check]:
    """Say which checkpoints are ahead of their streams."""
    ahead = list(find_ahead(client, connection))
    for one in ahead:
        yield Check(f"checkpoint {one.projection} {one.partition}", "fail", one.problem, one.advice)
    if not ahead:
        yield Check("checkpoints", "ok", "none is ahead of its stream")
