"""Whether Redis keeps what it acknowledges."""

import re
import time
from collections.abc import Iterator
from typing import Any, cast

import msgspec
import structlog
from redis import Redis, RedisCluster
from redis.exceptions import RedisError, ResponseError

from playhead.checks.check import Check, judge
from playhead.streams.domains.discovery import installed
from playhead.streams.errors import RedisUnavailable
from playhead.streams.redis.connections import connect
from playhead.streams.redis.partition_counts import PartitionCounts
from playhead.streams.redis.users import EVERY_RIGHT, default_user

REACHABLE = "redis reachable"
_LOWEST_REDIS, _LOWEST_VALKEY = (7, 0), (8, 0)
_CLOCK_SECONDS = 1.0
_FULL = 0.9
_START_TIMEOUT = 2.0


def check_redis(url: str, shown: str, timeout: float, partitions: int | None) -> Iterator[Check]:
    """Look at every server that takes writes; one that cannot be reached ends it."""
    try:
        client = connect(url, timeout)
        nodes = primaries(client)
        for place, node in nodes:
            cast("Any", node).ping()
            yield Check(REACHABLE, "ok", place or shown)
        for place, node in nodes:
            yield from (_at(place, check) for check in (*durability(node), *_condition(node)))
        yield from _partitions(client, partitions)
    except (RedisError, OSError) as error:
        yield Check(REACHABLE, "fail", f"{shown}: {error}", "check that it runs, and check REDIS_URL")


def primaries(client: "Redis | RedisCluster") -> list[tuple[str, Redis]]:
    """Clients of the servers that take writes, each with its name in a cluster."""
    if isinstance(client, Redis):
        return [("", client)]
    cluster = cast("Any", client)
    return [(str(node.name), cluster.get_redis_connection(node)) for node in cluster.get_primaries()]


def durability(node: Redis) -> Iterator[Check]:
    """Whether an acknowledged event can be lost by a crash or thrown out for lack of memory."""
    info = cast("dict[str, Any]", cast("Any", node).info())
    yield _version(info)
    policy = str(info.get("maxmemory_policy", "unknown"))
    yield judge(
        "redis maxmemory-policy",
        policy,
        good=policy == "noeviction",
        otherwise="warn" if policy == "unknown" else "fail",
        advice="set it to noeviction: any other value deletes whole streams when memory is short",
    )
    appendonly = bool(info.get("aof_enabled", 0))
    yield judge(
        "redis appendonly",
        "yes" if appendonly else "no",
        good=appendonly,
        otherwise="warn",
        advice="set appendonly yes: otherwise a crash loses what was acknowledged since the last snapshot",
    )
    fsync = _setting(node, "appendfsync")
    yield judge(
        "redis appendfsync",
        fsync or "unknown, the server refuses CONFIG",
        good=fsync == "always",
        otherwise="warn",
        advice="set appendfsync always: otherwise a crash loses up to a second of acknowledged events"
        if fsync
        else "ask its operator whether it writes to disk before it acknowledges",
    )


def warn_of_weakness(url: str) -> None:
    """Say at start what Redis may lose; whether it is there at all the consumer finds out by itself."""
    log = structlog.get_logger()
    try:
        checks = [check for _, node in primaries(connect(url, _START_TIMEOUT)) for check in durability(node)]
    except (RedisError, OSError):
        return
    for check in checks:
        if check.result != "ok":
            log.warning("redis may lose events", setting=check.name, found=check.found, advice=check.advice)


def _version(info: dict[str, Any]) -> Check:
    valkey = info.get("valkey_version")
    name, version, lowest = (
        ("Valkey", str(valkey), _LOWEST_VALKEY) if valkey else ("Redis", str(info["redis_version"]), _LOWEST_REDIS)
    )
    numbers = [int(part) for part in re.findall(r"\d+", version)]
    wanted = ".".join(map(str, lowest))
    return judge(
        "redis version", f"{name} {version}", good=tuple(numbers[:2]) >= lowest, advice=f"use {name} {wanted} or later"
    )


def _condition(node: Redis) -> Iterator[Check]:
    redis = cast("Any", node)
    info = cast("dict[str, Any]", redis.info())
    role = str(info.get("role", "unknown"))
    yield judge("redis role", role, good=role == "master", advice="REDIS_URL names a replica: name the master")
    written = str(info.get("aof_last_write_status", "ok"))
    yield judge("redis last write", written, good=written == "ok", advice="see its log: the disk is full or broken")
    if "valkey_version" not in info:
        yield _default_user(node)
    used, limit = int(info.get("used_memory", 0)), int(info.get("maxmemory", 0))
    yield judge(
        "redis memory",
        f"{used // 2**20} MiB used, " + (f"{limit // 2**20} MiB allowed" if limit else "no limit"),
        good=not limit or used < limit * _FULL,
        otherwise="warn",
        advice="raise maxmemory, or start the consumer that holds trimming: `playhead status`",
    )
    before = time.time()
    seconds, microseconds = redis.time()
    offset = seconds + microseconds / 1e6 - (before + time.time()) / 2
    yield judge(
        "redis clock",
        f"{offset:+.3f} s from this machine",
        good=abs(offset) < _CLOCK_SECONDS,
        otherwise="warn",
        advice="synchronize both clocks with NTP: positions and lags use the server's clock",
    )


def _default_user(node: Redis) -> Check:
    default = default_user(node)
    if default is None:
        return Check(
            "redis default user",
            "warn",
            "unknown, the server refuses ACL GETUSER to this user",
            "run `playhead doctor` once with the REDIS_URL of an administrator: if the default user lacks rights, Redis"
            " drops events when it restarts",
        )
    return judge(
        "redis default user",
        "every right" if default.has_every_right else "not every right",
        good=default.has_every_right,
        advice="Redis loads its append-only file as this user, and drops what scripts wrote, every event among it:"
        f" before a restart, redis-cli ACL SETUSER default {EVERY_RIGHT}, and the same in the aclfile",
    )


def _partitions(client: "Redis | RedisCluster", given: int | None) -> Iterator[Check]:
    counts = PartitionCounts(lambda: client)
    for stream in installed().streams:
        try:
            recorded = counts.recorded(stream)
        except RedisUnavailable:  # `redis keys` says so, or the checks before
            continue
        if recorded is not None:
            yield judge(
                f"partitions of {stream}",
                f"{recorded} recorded" + ("" if given is None else f", {given} set"),
                good=given in {None, recorded},
                advice=f"remove PLAYHEAD_PARTITIONS, or set PLAYHEAD_PARTITIONS to {recorded}: a stream keeps its first"
                " number",
            )


def _setting(node: Redis, name: str) -> str | None:
    try:
        return cast("dict[str, str]", cast("Any", node).config_get(name)).get(name)
    except ResponseError:
        return None


def _at(place: str, check: Check) -> Check:
    return msgspec.structs.replace(check, found=f"{place}: {check.found}") if place else check
