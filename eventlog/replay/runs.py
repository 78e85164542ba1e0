"""Runs: which replays are under way or were cut short, kept in Redis so that any process can go on with one."""

import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Literal, Self

import msgspec
from redis import Redis, RedisCluster
from redis.exceptions import RedisError

from playhead.streams.errors import PlayheadError
from playhead.streams.names import REPLAYS, replay_alive_key, replay_key, replay_progress_key, replays_key
from playhead.streams.partitions import Partition
from playhead.streams.positions import Position

KEPT_SECONDS = 7 * 24 * 3600
"""Seconds after its last step for which an unfinished run can be resumed."""

_ALIVE_SECONDS = 15
_BEAT_SECONDS = 4.0
_LEAVING_SECONDS = 60
"""More than readers take to see that a run is over."""


class RunElsewhere(PlayheadError):
    """Another process goes on with this run: let it finish, or stop it first."""


class Unfinished(msgspec.Struct, frozen=True):
    """A run that has not ended; `applied` if its projections have applied what was sent of it so far."""

    run: str
    state: Literal["running", "interrupted"]
    applied: bool


class Beating:
    """Says that the process of a run lives, for as long as the block lasts."""

    def __init__(self, client: "Redis | RedisCluster", run: str) -> None:
        self._redis: Any = client
        self._key = replay_alive_key(run)
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="replay-beat", daemon=True)

    def __enter__(self) -> Self:
        self._redis.set(self._key, 1, ex=_ALIVE_SECONDS)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        with suppress(RedisError):
            self._redis.delete(self._key)

    def _beat(self) -> None:
        while not self._done.wait(_BEAT_SECONDS):
            with suppress(RedisError):
                self._redis.set(self._key, 1, ex=_ALIVE_SECONDS)


def remember(client: "Redis | RedisCluster", run: str, plan: bytes) -> None:
    """Keep what a run is to do."""
    redis: Any = client
    redis.hset(REPLAYS, run, plan)


def recall(client: "Redis | RedisCluster", run: str) -> bytes | None:
    """What a run is to do, None if there is no such unfinished run."""
    redis: Any = client
    return redis.hget(REPLAYS, run)


def interrupted_with(client: "Redis | RedisCluster", plan: bytes) -> list[str]:
    """The runs that are to do just this, and that no process sends."""
    redis: Any = client
    found = [field.decode() for field, kept in redis.hgetall(REPLAYS).items() if kept == plan]
    return [run for run in found if not redis.exists(replay_alive_key(run))]


def forget(client: "Redis | RedisCluster", run: str) -> None:
    """Strike a run off that is finished."""
    redis: Any = client
    redis.hdel(REPLAYS, run)


def cancel(client: "Redis | RedisCluster", run: str, partitions: Iterable[Partition]) -> bool:
    """Give up a run; what its projections have applied stays. False if there is no such unfinished run.

    Raises:
        RunElsewhere: a process sends it.
    """
    redis: Any = client
    if redis.exists(replay_alive_key(run)):
        raise RunElsewhere(f"a process sends the replay {run}: stop it with Ctrl-C first")
    found = redis.hdel(REPLAYS, run) > 0
    for partition in partitions:
        if redis.hdel(replays_key(partition.key), run):
            found = True
            for key in (replay_key(partition.key, run), replay_progress_key(partition.key, run)):
                redis.expire(key, _LEAVING_SECONDS)  # readers may be within it
    return found


def forget_old(client: "Redis | RedisCluster", partitions: Iterable[Partition]) -> None:
    """Strike runs off whose streams have expired, so that nobody goes on looking for them."""
    redis: Any = client
    for partition in partitions:
        for field in redis.hkeys(replays_key(partition.key)):
            run = field.decode()
            if _age(run) > KEPT_SECONDS and not redis.exists(replay_key(partition.key, run)):
                redis.hdel(replays_key(partition.key), run)
    for field in redis.hkeys(REPLAYS):
        if _age(field.decode()) > KEPT_SECONDS and not redis.exists(replay_alive_key(field.decode())):
            redis.hdel(REPLAYS, field)


def unfinished(client: "Redis | RedisCluster", partitions: Iterable[Partition]) -> list[Unfinished]:
    """Every run that has not ended, the oldest first."""
    redis: Any = client
    behind: dict[str, bool] = {field.decode(): False for field in redis.hkeys(REPLAYS)}
    for partition in partitions:
        for field in redis.hkeys(replays_key(partition.key)):
            run = field.decode()
            behind[run] = behind.get(run, False) or _is_behind(redis, replay_key(partition.key, run))
    return [
        Unfinished(run, "running" if redis.exists(replay_alive_key(run)) else "interrupted", applied=not is_behind)
        for run, is_behind in sorted(behind.items())
    ]


def _is_behind(redis: Any, key: str) -> bool:
    if not redis.exists(key):
        return False
    last = Position.parse(redis.xinfo_stream(key)["last-generated-id"])
    return any(Position.parse(group["last-delivered-id"]) < last for group in redis.xinfo_groups(key))


def _age(run: str) -> float:
    """Seconds since a run was named; 0 if the name is not one of ours."""
    try:
        return time.time() - int(run.replace("-", "")[:12], 16) / 1000
    except ValueError:
        return 0.0
