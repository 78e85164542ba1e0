"""Consumers that an operator paused or retired: one record in Redis, at which every process looks.

What cannot be read counts as no record, so that a consumer runs, and trimming waits for it.
"""

from collections.abc import Mapping
from typing import Any, Literal, cast

import msgspec
from redis import Redis, RedisCluster
from redis.exceptions import ResponseError

from playhead.streams.names import HALTS

LOOK_SECONDS = 1.0
"""How often a process looks."""


class Halt(msgspec.Struct, frozen=True):
    """What an operator did with a consumer, and when, in seconds of the Unix clock."""

    state: Literal["paused", "retired"]
    since: float


def halt_of(raw: bytes | None) -> Halt | None:
    """What a record says; None if the consumer is to run."""
    try:
        return None if raw is None else msgspec.json.decode(raw, type=Halt)
    except msgspec.MsgspecError:
        return None


def halts_of(records: Mapping[bytes, bytes]) -> dict[str, Halt]:
    """What the records of some consumers say."""
    found = {name.decode("utf-8", "backslashreplace"): halt_of(raw) for name, raw in records.items()}
    return {name: halt for name, halt in found.items() if halt is not None}


def read_halts(client: "Redis | RedisCluster") -> dict[str, Halt]:
    """Every consumer that is paused or retired."""
    try:
        return halts_of(cast("dict[bytes, bytes]", cast("Any", client).hgetall(HALTS)))
    except ResponseError:  # `find_wrong_keys` says so
        return {}
