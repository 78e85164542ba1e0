"""Consumers that an operator paused or retired: one record in Redis, at which every process looks.

Only a record that is not there lets a consumer work. One that cannot be read keeps it waiting, as a paused one does.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Literal, cast

import msgspec
from redis import Redis, RedisCluster

from playhead.streams.errors import InvalidSetting
from playhead.streams.names import HALTS

LOOK_SECONDS = 1.0
"""How often a process looks."""


class Halt(msgspec.Struct, frozen=True):
    """What an operator did with a consumer, and when, in seconds of the Unix clock; `unknown` if nobody can read it."""

    state: Literal["paused", "retired", "unknown"]
    since: float


UNKNOWN = Halt("unknown", 0.0)


def halt_of(raw: bytes | None) -> Halt | None:
    """What a record says; None if the consumer is to run."""
    try:
        return None if raw is None else msgspec.json.decode(raw, type=Halt)
    except msgspec.MsgspecError:
        return UNKNOWN


def halts_of(records: Mapping[bytes, bytes]) -> dict[str, Halt]:
    """What the records of some consumers say."""
    found = {name.decode("utf-8", "backslashreplace"): halt_of(raw) for name, raw in records.items()}
    return {name: halt for name, halt in found.items() if halt is not None}


def read_halts(client: "Redis | RedisCluster") -> dict[str, Halt]:
    """Every consumer that is paused or retired, or whose record cannot be read.

    Raises:
        RedisError: Redis does not answer, refuses, or has something else there.
    """
    return halts_of(cast("dict[bytes, bytes]", cast("Any", client).hgetall(HALTS)))


def retired_among(client: "Redis | RedisCluster", names: Iterable[str]) -> list[str]:
    """Those of some consumers that are retired."""
    halts = read_halts(client)
    return [name for name in names if (halt := halts.get(name)) is not None and halt.state == "retired"]


def refuse_halted(client: "Redis | RedisCluster", names: Iterable[str]) -> None:
    """Refuse to send anything to consumers that are halted, which would wait for an operator.

    Raises:
        InvalidSetting: one of them is.
        RedisError: Redis does not answer, refuses, or has something else there.
    """
    halts = read_halts(client)
    for name in names:
        if (halt := halts.get(name)) is not None:
            is_known = halt.state != "unknown"
            raise InvalidSetting(
                f"{name} is {halt.state}: `playhead consumers resume {name}` first" if is_known else unreadable(name)
            )


def unreadable(name: str) -> str:
    """What a consumer says that waits because nobody can read its record."""
    return (
        f"the record of {name} in {HALTS} cannot be read, so it waits as if paused: `playhead doctor` says what to do"
    )
