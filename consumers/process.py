"""A consumer process: FastStream's application around our read loop, with health and metrics over HTTP."""

import asyncio
import gc
import os
import signal
import socket
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, cast

import msgspec
import structlog
import uvicorn
from faststream.asgi import AsgiFastStream, AsgiResponse, get
from faststream.redis import RedisBroker, RedisClusterBroker, RedisSentinelBroker
from prometheus_client import make_asgi_app as _make_asgi_app  # pyright: ignore[reportUnknownVariableType]  # untyped
from redis.asyncio import Redis

from consumers.errors import AddressTaken
from consumers.group import Group
from consumers.lag import keep_known
from consumers.metrics import PrometheusObserver, TrimMetrics, make_registry
from consumers.reader import Reader, ReaderSettings
from consumers.tasks import end
from consumers.trimming import keep_trimmed
from streams.connections import DEFAULT_TIMEOUT, RedisAddress
from streams.partitions import Partition
from streams.sinks import OnDisk, Sink
from streams.telemetry import plain


class ProcessSettings(msgspec.Struct, frozen=True):
    """Where a consumer process finds Redis, how many partitions a stream has, and where it listens for HTTP."""

    redis_url: str
    redis_timeout: float = DEFAULT_TIMEOUT
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

    0 after a stop that was asked for, with the batch in hand finished; 1 after a failure that a restart may mend.

    Raises:
        AddressTaken: another program listens there.
    """
    listening = _listen(settings.http_host, settings.http_port)
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    directory = sink.directory if isinstance(sink, OnDisk) else None
    registry = make_registry(sink.name, directory)
    broker = make_broker(settings.redis_url, settings.redis_timeout)
    trims = TrimMetrics(registry) if settings.trim else None
    serving = _Serving(sink, settings, is_transient, PrometheusObserver(sink.name, registry), trims)

    @get
    async def live(_: dict[str, Any]) -> AsgiResponse:
        return AsgiResponse(b"failed" if serving.failure else b"ok", 500 if serving.failure else 200)

    @get
    async def ready(_: dict[str, Any]) -> AsgiResponse:
        problems = await asyncio.to_thread(serving.problems)
        return AsgiResponse("\n".join(problems).encode() or b"ok", 503 if problems else 200)

    app = AsgiFastStream(
        broker,
        logger=None,
        asgi_routes=[("/healthz", live), ("/readyz", ready), ("/metrics", cast("Any", _make_asgi_app)(registry))],
    )
    server = _Server(uvicorn.Config(app, log_config=None, lifespan="on"))

    async def start() -> None:
        serving.start(await broker.connect(), on_failure=server.ask_to_stop)

    app.after_startup(start)
    app.on_shutdown(serving.stop)
    for sign in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(sign, server.ask_to_stop)
    await server.serve([listening])
    return 1 if serving.failure or not server.started else 0


class _Serving:
    """The readers of every partition, and what trims behind them."""

    def __init__(
        self,
        sink: Sink,
        settings: ProcessSettings,
        is_transient: Callable[[BaseException], bool],
        observer: PrometheusObserver,
        trims: TrimMetrics | None,
    ) -> None:
        self.failure: BaseException | None = None
        self._sink, self._settings, self._is_transient, self._observer = sink, settings, is_transient, observer
        self._trims = trims
        self._readers: list[Reader] = []
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=sink.name)
        self._tasks: list[asyncio.Task[None]] = []

    def problems(self) -> list[str]:
        """Why this process is not ready: a line for each partition that is not served as it should be."""
        if self.failure is not None:
            return [plain(self.failure)]
        if not self._readers:
            return ["not started yet"]
        found = [f"{reader.partition}: {reader.problem}" for reader in self._readers if reader.problem is not None]
        if isinstance(self._sink, OnDisk) and any(reader.serving for reader in self._readers):
            found += filter(None, [self._sink.health()])
        return found

    def start(self, client: Redis, on_failure: Callable[[], None]) -> None:
        client.set_response_callback("XREAD", cast("Any", _as_it_comes))
        owner = owner_name()
        partitions = [
            Partition(stream, number) for stream in self._sink.streams for number in range(self._settings.partitions)
        ]
        for partition in partitions:
            group = Group(client, self._sink.name, partition, owner=owner, lease=self._settings.reader.lease)
            leader = self._readers[0] if self._sink.exclusive and self._readers else None
            self._readers.append(
                Reader(
                    self._sink, group, self._settings.reader, self._executor, self._is_transient, self._observer, leader
                )
            )
        reading = asyncio.create_task(_serve_all(self._readers))
        self._tasks.append(reading)
        self._tasks.append(asyncio.create_task(keep_known(client, self._readers, self._observer.lag)))
        if self._trims is not None:
            groups = {
                Partition(stream, number): names
                for stream, names in self._settings.trim.items()
                for number in range(self._settings.partitions)
            }
            self._tasks.append(asyncio.create_task(keep_trimmed(client, groups, self._trims.trimmed)))

        def ended(task: "asyncio.Task[None]") -> None:
            if not task.cancelled() and (error := task.exception()) is not None:
                structlog.get_logger().critical("consumer failed", projection=self._sink.name, exc_info=error)
                self.failure = error
                on_failure()

        reading.add_done_callback(ended)

    async def stop(self) -> None:
        """Before the broker goes: let every reader finish its batch and give its lease back."""
        for reader in self._readers:
            reader.stop()
        reading, *others = self._tasks
        await end(*others)
        await asyncio.wait([reading])
        self._executor.shutdown()
        self._sink.close()


class _Server(uvicorn.Server):
    """Uvicorn without its signal handlers, which would end the process by the signal instead of with exit code 0."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listening in self.servers[0].sockets if self.started else ():
            host, port, *_ = listening.getsockname()
            structlog.get_logger().info("listening", url=f"http://{host}:{port}")

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield

    def ask_to_stop(self) -> None:
        self.should_exit = True


def make_broker(url: str, timeout: float = DEFAULT_TIMEOUT) -> RedisBroker:
    """FastStream's broker for every URL form that `streams.connections` reads; `timeout` in seconds."""
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
    return RedisBroker(url, **limits)


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise AddressTaken(host, port, error.strerror or str(error)) from error


async def _serve_all(readers: Sequence[Reader]) -> None:
    async with asyncio.TaskGroup() as group:
        for reader in readers:
            group.create_task(reader.run())


def _as_it_comes(reply: object, **_: object) -> object:
    """Keep entries as flat lists of bytes; dictionaries would be built twice."""
    return reply
