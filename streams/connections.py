"""Connections from every URL form: redis://, rediss://, unix://, redis+sentinel://, redis+cluster://."""

from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec
from redis import Redis, RedisCluster, Sentinel
from redis.cluster import ClusterNode

from streams.errors import InvalidSetting

DEFAULT_TIMEOUT = 5.0
"""Seconds after which a silent connection counts as dead."""

_SENTINEL_PORT = 26379
_REDIS_PORT = 6379


class RedisAddress(msgspec.Struct, frozen=True):
    """A parsed URL: how to reach one Redis, a Sentinel-watched master or a Cluster."""

    scheme: str
    url: str
    hosts: tuple[tuple[str, int], ...]
    options: dict[str, Any]
    service: str | None = None

    @classmethod
    def parse(cls, url: str) -> "RedisAddress":
        """Read a URL.

        Raises:
            InvalidSetting: the form is none of the known ones.
        """
        parts = urlsplit(url)
        if parts.scheme in {"redis", "rediss", "unix"}:
            return cls(parts.scheme, url, (), {})
        if parts.scheme not in {"redis+sentinel", "redis+cluster"}:
            raise InvalidSetting(
                f"REDIS_URL starts with {parts.scheme or 'nothing'}://; use redis://, rediss://, unix://, "
                "redis+sentinel://host:26379,host:26379/service/0 or redis+cluster://host:6379,host:6379"
            )
        credentials, _, hosts = parts.netloc.rpartition("@")
        options: dict[str, Any] = dict(parse_qsl(parts.query))
        username, _, password = credentials.partition(":")
        if username:
            options["username"] = unquote(username)
        if password:
            options["password"] = unquote(password)
        if options.pop("ssl", "").lower() in {"1", "true", "yes"}:
            options["ssl"] = True
        if parts.scheme == "redis+cluster":
            return cls(parts.scheme, url, _hosts(hosts, _REDIS_PORT), options)
        service, _, database = parts.path.strip("/").partition("/")
        if not service:
            raise InvalidSetting("REDIS_URL redis+sentinel:// lacks the name of the service after the hosts")
        options["db"] = int(database or 0)
        return cls(parts.scheme, url, _hosts(hosts, _SENTINEL_PORT), options, service)


def connect(url: str, timeout: float = DEFAULT_TIMEOUT) -> "Redis | RedisCluster":
    """Make a client; nothing is sent yet but for a Cluster, whose slots are asked for.

    Raises:
        InvalidSetting: the URL has an unknown form.
    """
    address = RedisAddress.parse(url)
    limits: dict[str, Any] = {
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "socket_keepalive": True,
    }
    if address.scheme == "redis+cluster":
        nodes = [ClusterNode(host, port) for host, port in address.hosts]
        return RedisCluster(startup_nodes=nodes, **address.options, **limits)
    if address.service is not None:
        sentinel = Sentinel(list(address.hosts), **address.options, **limits)
        return sentinel.master_for(address.service)  # pyright: ignore[reportUnknownMemberType]  # untyped in redis-py
    try:
        usable = {"socket_timeout": timeout} if address.scheme == "unix" else limits
        return Redis.from_url(url, **usable)  # pyright: ignore[reportUnknownMemberType]  # untyped in redis-py
    except ValueError as error:
        raise InvalidSetting(f"REDIS_URL cannot be read: {error}") from error


def _hosts(text: str, default_port: int) -> tuple[tuple[str, int], ...]:
    hosts: list[tuple[str, int]] = []
    for one in text.split(","):
        host, _, port = one.rpartition(":") if ":" in one else (one, "", "")
        hosts.append((host.strip("[]"), int(port or default_port)))
    return tuple(hosts)
