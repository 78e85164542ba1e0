"""A process of ours: FastStream's application around it, with health and metrics over HTTP, and an exit code."""

import asyncio
import gc
import os
import signal
import socket
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, Protocol, cast

import msgspec
import structlog
import uvicorn
from faststream.asgi import AsgiFastStream, AsgiResponse, get
from prometheus_client import CollectorRegistry
from prometheus_client import make_asgi_app as _make_asgi_app  # pyright: ignore[reportUnknownVariableType]  # untyped
from redis.asyncio import Redis

from playhead.consumers.errors import AddressTaken
from playhead.consumers.processes.broker import connect, make_broker
from playhead.consumers.processes.http import BACKLOG, HEADER_BYTES, BoundedConnection
from playhead.streams.appending.threads import Threads
from playhead.streams.printable import printable
from playhead.streams.redis.connections import DEFAULT_TIMEOUT
from playhead.streams.telemetry import plain


class ServiceSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where a process finds Redis, and where it listens for HTTP.

    `partitions` is the number of a stream that somebody set explicitly; without one, it is what Redis has recorded.
    """

    redis_url: str
    redis_timeout: float = DEFAULT_TIMEOUT
    partitions: int | None = None
    http_host: str = "127.0.0.1"
    http_port: int = 0


class Service(Protocol):
    """What a process does between its start and its end."""

    def problems(self) -> list[str]:
        """Why the process is not ready, a line each."""
        ...

    async def run(self) -> None:
        """Work until stopped.

        Raises:
            Exception: what no retry can mend.
        """
        ...

    def stop(self) -> None:
        """Let `run` finish what is in hand and return; it may not have begun yet."""
        ...

    def close(self) -> None:
        """Let go of what is held, once `run` has returned."""
        ...


class Supervisor:
    """Runs a service in a task of its own, and knows what became of it."""

    def __init__(self, name: str) -> None:
        self.failure: Exception | None = None
        """The failure that no retry can fix, if there was one."""
        self._name = name
        self._service: Service | None = None
        self._running: asyncio.Task[None] | None = None

    def problems(self) -> list[str]:
        """Why the process is not ready, a line each."""
        if self.failure is not None:
            return [plain(self.failure)]
        return ["not started yet"] if self._service is None else self._service.problems()

    def start(self, service: Service, on_failure: Callable[[], None]) -> None:
        """Begin, now that Redis can be asked."""
        self._service = service
        self._running = asyncio.create_task(self._run(service, on_failure))

    async def stop(self) -> None:
        """Let it finish what is in hand, while Redis can still be asked."""
        if self._service is not None and self._running is not None:
            self._service.stop()
            await asyncio.wait([self._running])
            self._service.close()

    async def _run(self, service: Service, on_failure: Callable[[], None]) -> None:
        try:
            await service.run()
        except Exception as error:  # noqa: BLE001  # whatever it is, it ends the process
            self.failure = error
            on_failure()
            structlog.get_logger().critical("consumer failed", projection=self._name, exc_info=error)


def owner_name() -> str:
    """A name for this process that no other has."""
    return f"{socket.gethostname()}/{os.getpid()}/{os.urandom(4).hex()}"


async def run_service(
    name: str, make: Callable[[Redis], Service], settings: ServiceSettings, registry: CollectorRegistry
) -> int:
    """Make a service once Redis can be asked, and run it until SIGTERM or SIGINT; returns the exit code.

    0 after a stop that was asked for, with the work in hand finished; 1 after a failure that a restart may mend.

    Raises:
        AddressTaken: another program listens there.
    """
    listening = _listen(settings.http_host, settings.http_port)
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    broker = make_broker(settings.redis_url, settings.redis_timeout)
    supervisor = Supervisor(name)
    looking = Threads(f"{name}-ready", 1)  # nobody waits for a thread that does work

    @get
    async def live(_: dict[str, Any]) -> AsgiResponse:
        return AsgiResponse(b"failed\n" if supervisor.failure else b"ok\n", 500 if supervisor.failure else 200)

    @get
    async def ready(_: dict[str, Any]) -> AsgiResponse:
        problems = await looking.call(supervisor.problems)
        lines = "".join(f"{printable(line)}\n" for line in problems or ["ok"])
        return AsgiResponse(lines.encode(), 503 if problems else 200)

    app = AsgiFastStream(
        broker,
        logger=None,
        asgi_routes=[("/healthz", live), ("/readyz", ready), ("/metrics", cast("Any", _make_asgi_app)(registry))],
    )
    server = _Server(
        name,
        uvicorn.Config(
            app,
            http=BoundedConnection,
            ws="none",
            h11_max_incomplete_event_size=HEADER_BYTES,
            backlog=BACKLOG,
            log_config=None,
            log_level="error",  # a warning for each bad request would be a way to fill a disk
            lifespan="on",
        ),
    )

    async def start() -> None:
        supervisor.start(make(await connect(broker, settings.redis_url)), on_failure=server.ask_to_stop)

    app.after_startup(start)
    app.on_shutdown(supervisor.stop)
    for sign in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(sign, server.ask_to_stop)
    await server.serve([listening])
    return 1 if supervisor.failure or not server.started else 0


class _Server(uvicorn.Server):
    """Uvicorn without its signal handlers, which would end the process by the signal instead of with exit code 0."""

    def __init__(self, name: str, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._name = name

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listening in self.servers[0].sockets if self.started else ():
            host, port, *_ = listening.getsockname()
            structlog.get_logger().info("listening", projection=self._name, url=f"http://{host}:{port}")

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield

    def ask_to_stop(self) -> None:
        self.should_exit = True


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise AddressTaken(host, port, error.strerror or str(error)) from error
