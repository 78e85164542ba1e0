"""Connections from every URL form: redis://, rediss://, unix://, redis+sentinel://, redis+cluster://."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, cast
from urllib.parse import SplitResult, unquote, urlsplit

import hiredis
import msgspec
from redis import Redis, RedisCluster, Sentinel
from redis.backoff import ExponentialWithJitterBackoff
from redis.cluster import ClusterNode
from redis.connection import HiredisRespSerializer
from redis.exceptions import RedisClusterException
from redis.retry import Retry

from playhead.streams.errors import InvalidSetting, RedisUnavailable
from playhead.streams.redis.exposure import refuse_exposed
from playhead.streams.redis.options import read_options, unreadable

DEFAULT_TIMEOUT = 5.0
"""Seconds after which a silent connection counts as dead."""

_SENTINEL_PORT = 26379
_REDIS_PORT = 6379
_RETRY_BASE, _RETRY_CAP = 0.01, 1.0  # seconds, as redis-py's own
_CLUSTER_RETRIES = 3  # to learn which node has a slot now
_SHORT = 256
"""Arguments of a command that is packed at once."""
_PIECE_BYTES = 64 * 1024
"""Of a long one, packed and sent at once: below what malloc takes from the kernel page by page."""

FORMS = (
    "redis://host:6379/0, rediss://host:6379/0, unix:///path/of.sock, "
    "redis+sentinel://host:26379,host:26379/service/0 or redis+cluster://host:6379,host:6379"
)


class RedisAddress(msgspec.Struct, frozen=True):
    """A parsed URL: how to reach one Redis, a Sentinel-watched master or a Cluster.

    `sentinel_options` are those of the connections to the Sentinels themselves, if there are any.
    """

    scheme: str
    url: str
    hosts: tuple[tuple[str, int], ...]
    options: dict[str, Any]
    service: str | None = None
    sentinel_options: dict[str, Any] = {}

    @classmethod
    def parse(cls, url: str) -> "RedisAddress":
        """Read a URL.

        Raises:
            InvalidSetting: the form is none of the known ones; its message never quotes the URL, nor a password.
        """
        try:
            parts = urlsplit(url)
        except ValueError:
            raise unreadable("the brackets of its host do not match") from None
        if parts.scheme not in {"redis", "rediss", "unix", "redis+sentinel", "redis+cluster"}:
            known = f"starts with {parts.scheme}://" if "://" in url and parts.scheme else "has no known scheme"
            raise InvalidSetting(f"REDIS_URL {known}; use {FORMS}")
        if parts.fragment or ("@" in parts.path and parts.scheme != "unix"):
            raise unreadable("write special characters of the user and password as %XX, such as %2F for /")
        credentials, _, hosts = parts.netloc.rpartition("@")
        options = _options(parts, credentials)
        if parts.scheme == "unix":
            if not parts.path.strip("/"):
                raise unreadable("unix:// needs the path of the socket")
            return cls(parts.scheme, url, (), options | {"path": unquote(parts.path)})
        if parts.scheme == "redis+sentinel":
            return cls._sentinel(url, parts, options)
        if parts.scheme == "redis+cluster":
            if parts.path.strip("/") not in {"", "0"}:
                raise unreadable("Redis Cluster has only database 0")
            return cls(parts.scheme, url, _hosts(hosts, _REDIS_PORT), options)
        options.setdefault("db", _database(parts.path.strip("/")))
        (address,) = _hosts(hosts, _REDIS_PORT)[:1]
        if "," in hosts:
            raise unreadable("it names several hosts; use redis+sentinel:// or redis+cluster://")
        return cls(parts.scheme, url, (address,), options)

    @classmethod
    def _sentinel(cls, url: str, parts: SplitResult, options: dict[str, Any]) -> "RedisAddress":
        service, _, database = parts.path.strip("/").partition("/")
        if not service:
            raise unreadable("redis+sentinel:// needs the name of the service after the hosts")
        options.setdefault("db", _database(database))
        own = {name.removeprefix("sentinel_"): options.pop(name) for name in list(options) if name[:9] == "sentinel_"}
        tls = {name: value for name, value in options.items() if name.startswith("ssl")}
        hosts = _hosts(parts.netloc.rpartition("@")[2], _SENTINEL_PORT)
        return cls(parts.scheme, url, hosts, options, unquote(service), tls | own)


def connect(url: str | RedisAddress, timeout: float = DEFAULT_TIMEOUT, *, retries: int = 0) -> "Redis | RedisCluster":
    """Make a client; nothing is sent yet but for a Cluster, whose slots are asked for.

    A command whose connection broke is sent again `retries` times, which is safe only if the command is idempotent.

    Raises:
        InvalidSetting: the URL has an unknown form.
        RedisUnavailable: no node of the Cluster answers.
    """
    address = RedisAddress.parse(url) if isinstance(url, str) else url
    limits: dict[str, Any] = {"socket_timeout": timeout}
    if address.scheme != "unix":
        limits |= {"socket_connect_timeout": timeout, "socket_keepalive": True}
    options: dict[str, Any] = limits | {"retry": _retry(retries)} | address.options
    try:
        if address.scheme == "redis+cluster":
            options["retry"] = _retry(max(retries, _CLUSTER_RETRIES))
            nodes = [ClusterNode(host, port) for host, port in address.hosts]
            return RedisCluster(startup_nodes=nodes, address_remap=unless_exposed(address), **options)
        if address.service is not None:
            own = limits | {"retry": _retry(0)} | address.sentinel_options  # the next Sentinel is the retry
            sentinel = _Sentinel(list(address.hosts), sentinel_kwargs=own, **options)
            sentinel.refuse = refuse_exposed(address)
            client = sentinel.master_for(address.service)  # pyright: ignore[reportUnknownMemberType]  # untyped in redis-py
        elif address.scheme == "unix":
            client = Redis(unix_socket_path=options.pop("path"), **options)
        else:
            ((host, port),) = address.hosts
            client = Redis(host=host, port=port, **options)
    except RedisClusterException as error:
        raise RedisUnavailable(f"{RedisUnavailable.__doc__} ({error})") from error
    except (TypeError, ValueError, OSError) as error:
        raise unreadable(f"an option after the ? is wrong: {error}") from error
    client.connection_pool.connection_kwargs["command_packer"] = _PiecewiseSerializer()
    return client


def unless_exposed(address: RedisAddress) -> Callable[[tuple[str, int]], tuple[str, int]]:
    """What a Cluster's client asks of each node that the Cluster names."""
    refuse = refuse_exposed(address)

    def look(node: tuple[str, int]) -> tuple[str, int]:
        refuse(node[0])
        return node

    return look


class _Sentinel(Sentinel):
    """Takes no master that its URL would not be allowed to name."""

    refuse: Callable[[str], None]

    def discover_master(self, service_name: str) -> tuple[str, int]:
        host, port = cast("tuple[str, int]", cast("Any", super()).discover_master(service_name))  # untyped in redis-py
        self.refuse(host)
        return host, port


class _PiecewiseSerializer:
    """Packs a long command in pieces, each sent before the next is made.

    A batch of events in one piece would be megabytes, which are copied twice into memory that is new each time.
    """

    def __init__(self) -> None:
        self._whole = cast("Any", HiredisRespSerializer())

    def pack(self, *args: Any) -> Iterable[bytes | memoryview]:
        """What redis-py sends, in order."""
        return self._whole.pack(*args) if len(args) <= _SHORT and not _large(args) else _pieces(args)


def _pieces(args: tuple[Any, ...]) -> Iterator[bytes | memoryview]:
    yield b"*%d\r\n" % len(args)
    start = 0
    for large in _large(args):
        yield from _packed(args[start:large])
        yield b"$%d\r\n" % len(args[large])
        yield args[large]  # from where it is
        yield b"\r\n"
        start = large + 1
    yield from _packed(args[start:])


def _packed(args: tuple[Any, ...]) -> Iterator[memoryview]:
    size = sum(len(arg) for arg in args if isinstance(arg, bytes))
    step = max(1, min(_SHORT, _PIECE_BYTES * len(args) // max(1, size)))
    for start in range(0, len(args), step):
        piece = args[start : start + step]
        yield memoryview(cast("Any", hiredis).pack_command(piece))[len(b"*%d\r\n" % len(piece)) :]


def _large(args: tuple[Any, ...]) -> list[int]:
    return [number for number, arg in enumerate(args) if isinstance(arg, bytes) and len(arg) > _PIECE_BYTES]


def _retry(retries: int) -> Retry:
    return Retry(ExponentialWithJitterBackoff(base=_RETRY_BASE, cap=_RETRY_CAP), retries)


def _options(parts: SplitResult, credentials: str) -> dict[str, Any]:
    """What stands before the @ and after the ?, as redis-py's keyword arguments of the right type."""
    options = read_options(parts.query, sentinel=parts.scheme == "redis+sentinel")
    username, _, password = credentials.partition(":")
    if username:
        options["username"] = unquote(username)
    if password:
        options["password"] = unquote(password)
    if parts.scheme == "rediss":
        options["ssl"] = True
    return options


def _database(text: str) -> int:
    if not (text or "0").isdecimal():
        raise unreadable("the database after the last / is not a number")
    return int(text or 0)


def _hosts(text: str, default_port: int) -> tuple[tuple[str, int], ...]:
    hosts: list[tuple[str, int]] = []
    for one in text.split(","):
        bracketed = one.startswith("[") and one.endswith("]")
        host, _, port = one.rpartition(":") if ":" in one and not bracketed else (one, "", "")
        if not (port or "1").isdecimal() or not 0 < int(port or 1) < 1 << 16:
            raise unreadable("a port is not a number from 1 to 65535; write a : or @ within the password as %3A or %40")
        hosts.append((unquote(host.strip("[]")) or "localhost", int(port or default_port)))
    return tuple(hosts)
