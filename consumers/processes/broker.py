"""FastStream's broker for every URL form, and the client of Redis that readers share."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast
from urllib.parse import quote

from faststream.redis import RedisBroker, RedisClusterBroker, RedisSentinelBroker
from redis._parsers import AsyncCommandsParser
from redis.asyncio import Connection, Redis, RedisCluster, SSLConnection
from redis.asyncio.sentinel import SentinelConnectionPool
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from playhead.streams.redis.connections import DEFAULT_TIMEOUT, RedisAddress, unless_exposed
from playhead.streams.redis.exposure import refuse_exposed
from playhead.streams.redis.refusals import AWAY


def make_broker(url: str, timeout: float = DEFAULT_TIMEOUT) -> RedisBroker:
    """FastStream's broker for every URL form that `playhead.streams.connections` reads; `timeout` in seconds."""
    address = RedisAddress.parse(url)
    limits: dict[str, Any] = {"socket_timeout": timeout, "socket_connect_timeout": timeout, "socket_keepalive": True}
    if address.scheme == "redis+cluster":
        (host, port), *others = address.hosts  # without a URL, FastStream would ask localhost too
        options: dict[str, Any] = {"host": host, "port": port, "startup_nodes": others} | limits | address.options
        return cast("RedisBroker", RedisClusterBroker(**options))
    if address.service is not None:
        return RedisSentinelBroker(
            sentinels=list(address.hosts),
            sentinel_master_name=address.service,
            sentinel_kwargs=limits | address.sentinel_options,
            **limits | address.options,
        )
    # What stands after the ? is given as read: FastStream would take it as it stands in the URL.
    options = {name: value for name, value in address.options.items() if name not in {"ssl", "path"}}
    if address.scheme == "unix":
        options = {"socket_timeout": timeout} | options
        return RedisBroker(f"unix://{quote(address.options['path'])}", **options)
    ((host, port),) = address.hosts
    options = limits | {"host": host, "port": port} | options
    return RedisBroker("rediss://" if address.options.get("ssl") else "redis://", **options)


async def connect(broker: RedisBroker, url: str) -> Redis:
    """Connect, so that entries come as flat lists of bytes; dictionaries would be built twice.

    A member that the URL would not be allowed to name is not connected to.
    """
    address = RedisAddress.parse(url)
    client = await broker.connect()
    if isinstance(client, RedisCluster):
        _adapt(client)
        client.nodes_manager.address_remap = unless_exposed(address)
    elif isinstance(client.connection_pool, SentinelConnectionPool):
        _take_no_exposed_master(cast("Any", client.connection_pool).sentinel_manager, refuse_exposed(address))
    # Many first commands at once would each ask a Cluster for its slots, and close one another's connections.
    with suppress(*AWAY, RedisError, OSError):  # the readers go on trying
        await client.initialize()
    client.set_response_callback("XREAD", cast("Any", _as_it_comes))
    return client


def _take_no_exposed_master(sentinel: Any, refuse: Callable[[str], None]) -> None:
    discover = sentinel.discover_master

    async def look(service_name: str) -> tuple[str, int]:
        host, port = await discover(service_name)
        refuse(host)
        return host, port

    sentinel.discover_master = look


def _adapt(client: RedisCluster) -> None:
    """Let a Cluster's client be shared by tasks, and find the node of an XREAD without asking the server."""
    client.commands_parser = _Keys()
    plain = client.connection_kwargs.get("connection_class") is not SSLConnection
    client.connection_kwargs["connection_class"] = _Shared if plain else _SharedTls
    for node in client.nodes_manager.startup_nodes.values():
        node.connection_class = client.connection_kwargs["connection_class"]


class _Keys(AsyncCommandsParser):
    """Knows the keys of XREAD; redis-py asks a node for them before each one, and a node that died answers nobody."""

    async def get_keys(self, *args: Any) -> tuple[str, ...] | None:
        if args[0] != "XREAD":
            return await super().get_keys(*args)
        keys_and_ids = args[args.index("STREAMS") + 1 :]
        return keys_and_ids[: len(keys_and_ids) // 2]


class _Shared(Connection):
    """A connection that another task may close while it is in use: a Cluster's client closes all of them, whoever
    uses them, when a slot has moved.
    """

    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        try:
            await super().send_packed_command(command, check_health)
        except AttributeError as error:
            if self.is_connected:
                raise
            raise RedisConnectionError("closed by another task") from error


class _SharedTls(_Shared, SSLConnection):
    pass


def _as_it_comes(reply: object, **_: object) -> object:
    return reply
