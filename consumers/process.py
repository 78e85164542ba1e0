"""A consumer process: FastStream's application around our read loop, with health and metrics over HTTP."""

import asyncio
import gc
import logging
import os
import socket
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, cast

import msgspec
import structlog
from faststream.asgi import AsgiFastStream, AsgiResponse, get
from faststream.redis import RedisBroker, RedisClusterBroker, RedisSentinelBroker
from prometheus_client import CollectorRegistry
from prometheus_client import make_asgi_app as _make_asgi_app  # pyright: ignore[reportUnknownVariableType]  # untyped

from consumers.group import Group
from consumers.metrics import PrometheusObserver
from consumers.reader import Reader, ReaderSettings
from consumers.trimming import keep_trimmed
from streams.connections import RedisAddress
from streams.partitions import Partition
from streams.sinks import Sink


class ProcessSettings(msgspec.Struct, frozen=True):
    """Where a consumer process finds Redis, how many partitions a stream has, and where it listens for HTTP."""

    redis_url: str
    partitions: int = 1
    http_host: str = "127.0.0.1"
    http_port: int = 0
    reader: ReaderSettings = ReaderSettings()
    trim: dict[str, tuple[str, ...]] = {}
    """Streams that this process trims, each with every group that must have read an entry first."""


def owner_name() -> str:
    """A name for this process that no other has."""
    return f"{socket.gethostname()}/{os.getpid()}/{os.urandom(4).hex()}"


async def run_consumer(sink: Sink, settings: ProcessSettings, is_transient: Callable[[BaseException], bool]) -> int:
    """Serve a sink until SIGTERM or SIGINT; returns the exit code.

    0 after a stop that was asked for, 1 after a failure that a restart may mend.
    """
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    registry = CollectorRegistry()
    observer = PrometheusObserver(sink.name, registry)
    failures: list[BaseException] = []
    readers: list[Reader] = []
    broker = make_broker(settings.redis_url)

    groups = {
        Partition(stream, number): names
        for stream, names in settings.trim.items()
        for number in range(settings.partitions)
    }

    @asynccontextmanager
    async def serve() -> AsyncGenerator[None, None]:
        client = await broker.connect()
        cast("Any", client).set_response_callback("XREAD", _as_it_comes)
        owner = owner_name()
        with ThreadPoolExecutor(1, thread_name_prefix=sink.name) as executor:
            for stream in sink.streams:
                for number in range(settings.partitions):
                    group = Group(
                        client, sink.name, Partition(stream, number), owner=owner, lease=settings.reader.lease
                    )
                    readers.append(Reader(sink, group, settings.reader, executor, is_transient, observer))
            serving = asyncio.create_task(_serve_all(readers))

            def ended(task: "asyncio.Task[None]") -> None:
                if not task.cancelled() and (error := task.exception()) is not None:
                    structlog.get_logger().critical("consumer failed", projection=sink.name, exc_info=error)
                    failures.append(error)
                    app.exit()

            serving.add_done_callback(ended)
            trimming = asyncio.create_task(keep_trimmed(client, groups)) if groups else None
            try:
                yield
            finally:
                if trimming is not None:
                    trimming.cancel()
                for reader in readers:
                    reader.stop()
                await asyncio.wait([serving])
                sink.close()

    @get
    async def live(_: dict[str, Any]) -> AsgiResponse:
        return AsgiResponse(b"failed" if failures else b"ok", 500 if failures else 200)

    @get
    async def ready(_: dict[str, Any]) -> AsgiResponse:
        good = bool(readers) and all(reader.healthy for reader in readers)
        return AsgiResponse(b"ok" if good else b"not ready", 200 if good else 503)

    app = AsgiFastStream(
        broker,
        lifespan=serve,
        logger=None,
        asgi_routes=[("/healthz", live), ("/readyz", ready), ("/metrics", cast("Any", _make_asgi_app)(registry))],
    )
    await _run_server(app, settings)
    return 1 if failures else 0


def make_broker(url: str) -> RedisBroker:
    """FastStream's broker for every URL form that `streams.connections` reads."""
    address = RedisAddress.parse(url)
    if address.scheme == "redis+cluster":
        return cast("RedisBroker", RedisClusterBroker(startup_nodes=list(address.hosts), **address.options))
    if address.service is not None:
        return RedisSentinelBroker(
            sentinels=list(address.hosts), sentinel_master_name=address.service, **address.options
        )
    return RedisBroker(url, socket_timeout=5, socket_connect_timeout=5, socket_keepalive=True)


async def _serve_all(readers: Sequence[Reader]) -> None:
    async with asyncio.TaskGroup() as group:
        for reader in readers:
            group.create_task(reader.run())


async def _run_server(app: AsgiFastStream, settings: ProcessSettings) -> None:
    await app.run(
        log_level=logging.WARNING,
        run_extra_options={"host": settings.http_host, "port": settings.http_port, "log_config": cast("Any", None)},
    )


def _as_it_comes(reply: object, **_: object) -> object:
    """Keep entries as flat lists of bytes; dictionaries would be built twice."""
    return reply
