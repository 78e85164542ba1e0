"""Revival: an embedded server that ended is started again, as the room on its disk may be back by then."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import msgspec

from playhead.embedded.directory import Running, RunningServers, save_running
from playhead.embedded.errors import EmbeddedServerError
from playhead.embedded.restarts import Restarts


class Server(Protocol):
    """An embedded server."""

    @property
    def running(self) -> Running:
        """Its process and address."""
        ...

    @property
    def has_ended(self) -> bool:
        """Whether that process is gone."""
        ...

    def start(self) -> None:
        """Start it again, on the same data."""
        ...


class Revival:
    """Starts servers again that end: at once, then ever later, as `Restarts` says."""

    def __init__(self, data_dir: Path, servers: Mapping[str, Server], running: RunningServers) -> None:
        self._data_dir, self._servers, self._running = data_dir, servers, running
        self._restarts = {name: Restarts() for name in servers}
        for restarts in self._restarts.values():
            restarts.started(time.monotonic())
        self._due: dict[str, float] = {}

    def look(self, tell: Callable[[str], object]) -> None:
        """Start again what ended and is due; `tell` gets what is to be said of it."""
        now = time.monotonic()
        for name in [name for name, server in self._servers.items() if server.has_ended]:
            if name not in self._due:
                wait = self._restarts[name].ended(now)
                self._due[name] = now + wait
                log = self._data_dir / name / f"{name}.log"
                tell(f"the embedded {name} ended; it is started again in {wait:.0f} s; see {log}")
            if now >= self._due[name]:
                del self._due[name]
                self._restarts[name].started(now)
                self._start(name, self._servers[name], tell)

    def _start(self, name: str, server: Server, tell: Callable[[str], object]) -> None:
        url = server.running.url
        try:
            server.start()
            self._running = msgspec.structs.replace(self._running, **{name: server.running})
            save_running(self._data_dir, self._running)
        except (OSError, EmbeddedServerError) as error:
            tell(f"the embedded {name} does not start: {error}")
        if server.running.url != url:
            tell(f"the embedded {name} has another address now, as its port was taken: start everything again")
