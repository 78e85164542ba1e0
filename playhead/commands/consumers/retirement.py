"""Removing the groups of a consumer, so that trimming no longer waits for it."""

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

from redis import Redis, RedisCluster

from playhead.consumers.halts import LOOK_SECONDS, Halt
from playhead.streams.errors import PlayheadError
from playhead.streams.names import again_key, presence_key, restarts_key, waiting_key
from playhead.streams.partitions import Partition
from playhead.terminal.output import say

_POLL_SECONDS = 0.1
_SILENCE_SECONDS = 5.0
"""After which it is said what the command waits for."""
_PATIENCE_SECONDS = 90.0
"""More than the grace of a worker and its hold."""


class StillServed(PlayheadError):
    """A process still serves the consumer, so its groups stay and hold trimming."""

    def __init__(self, name: str, partition: Partition) -> None:
        super().__init__(
            f"a process still serves {name} on {partition}: stop it, and run `playhead consumers retire {name}` again"
        )


def remove_groups(client: "Redis | RedisCluster", name: str, halt: Halt, partitions: Iterable[Partition]) -> int:
    """Remove the group of a consumer from partitions, once its processes have stopped; how many there were.

    Raises:
        StillServed: one does not stop.
    """
    # Until every process has looked, one that stands by may still take over from another that has stopped.
    time.sleep(max(0.0, min(2 * LOOK_SECONDS, halt.since + 2 * LOOK_SECONDS - time.time())))
    started = time.monotonic()
    script = client.register_script(Path(__file__).with_name("retire.lua").read_text())
    removed, said = 0, False
    for partition in partitions:
        key = partition.key
        keys = [key, restarts_key(key), presence_key(key, name), f"{key}:due:{name}"]
        keys += [waiting_key(key, name), again_key(key, name)]
        while (became := cast("Any", script)(keys=keys, args=[name])) == b"busy":
            if time.monotonic() - started > _PATIENCE_SECONDS:
                raise StillServed(name, partition)
            if not said and time.monotonic() - started > _SILENCE_SECONDS:
                say(f"waiting for the processes of {name} to stop")
                said = True
            time.sleep(_POLL_SECONDS)
        removed += became == b"removed"
    return removed
