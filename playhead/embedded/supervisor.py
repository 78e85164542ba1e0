"""`playhead up`: the embedded servers and a process for every consumer, restarted when one dies."""

import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import FrameType
from typing import IO

import structlog

from playhead.embedded.processes import free_port
from playhead.embedded.restarts import Restarts
from playhead.settings.servers import Servers
from playhead.settings.settings import Settings, declared
from playhead.streams.domains.discovery import installed

_POLL_SECONDS = 0.1
_ANSWER_SECONDS = 1.0
_STOP_SECONDS = 30.0
_PATIENCE_SECONDS = 10.0
"""After which it is said why a consumer is not ready, and again after as long."""
_SILENCE_SECONDS = 2.0
"""After which it is said which consumers a stop waits for."""


class Supervisor:
    """Starts consumers as processes of their own, and starts one again that ends, whatever becomes of the others.

    One that keeps ending is started again ever later, as `Restarts` says, and the others run on.
    """

    def __init__(
        self, settings: Settings, servers: Servers, names: Iterable[str], *, messages: IO[bytes] | None = None
    ) -> None:
        self._names = tuple(names)
        self._messages = messages
        self._host, self._first_port = settings.http_host, settings.http_port
        self._environment = environment(settings, servers)
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._ports: dict[str, int] = {}
        self._waited_for: dict[str, str] = {}
        self._restarts = {name: Restarts() for name in self._names}
        self._due: dict[str, float] = {}
        """When to start those that keep ending again."""
        self._signals = 0
        self._log = structlog.get_logger()

    def run(
        self,
        on_ready: Callable[[dict[str, str], Sequence[str]], None],
        on_stop: Callable[[Sequence[str]], None],
        look: Callable[[], None],
    ) -> None:
        """Serve until SIGINT or SIGTERM; `look` is called several times a second.

        `on_ready` gets the address of each consumer once all of them serve, or stand by, and the names of those that
        keep ending instead; `on_stop` the names of those that a signal ends.
        """
        for sign in (signal.SIGINT, signal.SIGTERM):
            signal.signal(sign, self._on_signal)
        self.start()
        told = False
        complain_at = time.monotonic() + _PATIENCE_SECONDS
        while not self._signals:
            look()
            self._revive()
            self._waited_for = {
                name: problem for name in self._waited_for if not self._signals and (problem := self._problem(name))
            }
            if self._waited_for and time.monotonic() > complain_at:
                complain_at = time.monotonic() + _PATIENCE_SECONDS
                for name, problem in self._waited_for.items():
                    self._log.warning("a consumer is not ready", consumer=name, problem=problem)
            if not self._waited_for and not told and not self._signals:
                told = True
                on_ready({name: f"http://{self._host}:{self._ports[name]}" for name in self._children}, list(self._due))
            time.sleep(_POLL_SECONDS)
        on_stop(list(self._children))
        self.stop()

    def start(self) -> None:
        """Start every consumer."""
        for name in self._names:
            self._start(name)

    def stop(self) -> None:
        """Let every consumer finish its batch, then end; a second signal ends them at once, which loses nothing."""
        for child in self._children.values():
            child.terminate()
        deadline = time.monotonic() + _STOP_SECONDS
        say_at = time.monotonic() + _SILENCE_SECONDS
        while alive := [name for name, child in self._children.items() if child.poll() is None]:
            if time.monotonic() > say_at:
                say_at = time.monotonic() + _PATIENCE_SECONDS
                for name in alive:
                    self._log.warning(
                        "waiting for what it has in hand; Ctrl-C does not, and loses nothing", consumer=name
                    )
            if time.monotonic() > deadline or self._signals > 1:
                reason = "a second signal" if self._signals > 1 else f"not stopped after {_STOP_SECONDS:.0f} s"
                for name in alive:
                    self._log.error("killed before it stopped by itself", consumer=name, reason=reason)
                    self._children[name].kill()
                    self._children[name].wait()
            time.sleep(_POLL_SECONDS / 10)

    def _start(self, name: str) -> None:
        self._restarts[name].started(time.monotonic())
        index = installed().consumers.index(name)
        port = self._first_port + index if self._first_port else free_port(self._ports.get(name, 0))
        self._ports[name] = port
        self._waited_for[name] = "starting"
        self._children[name] = subprocess.Popen(
            [sys.executable, "-P", "-m", "playhead.embedded.tied", str(os.getpid()), "run", name],
            env=self._environment | {"PLAYHEAD_HTTP_PORT": str(port)},
            start_new_session=True,
            stderr=self._messages,
        )

    def _revive(self) -> None:
        """Start again those that ended, each when it is due."""
        for name, child in list(self._children.items()):
            if child.poll() is None:
                continue
            del self._children[name]
            self._waited_for.pop(name, None)
            wait = self._restarts[name].ended(time.monotonic())
            if wait == 0:
                self._log.error("a consumer ended and is started again", consumer=name, exit_code=child.returncode)
                self._start(name)
                continue
            self._due[name] = time.monotonic() + wait
            self._log.critical(
                "a consumer keeps ending; see its messages above",
                consumer=name,
                exit_code=child.returncode,
                retry_in_seconds=wait,
            )
        for name, due in list(self._due.items()):
            if time.monotonic() >= due:
                del self._due[name]
                self._start(name)

    def _problem(self, name: str) -> str | None:
        """What the consumer says is wrong, None when it is ready."""
        host = "127.0.0.1" if self._host in {"0.0.0.0", "::", ""} else self._host  # noqa: S104  # asked, not bound
        connection = http.client.HTTPConnection(host, self._ports[name], timeout=_ANSWER_SECONDS)
        try:
            connection.request("GET", "/readyz")
            response = connection.getresponse()
            said = response.read().decode(errors="replace").rstrip()
        except (OSError, http.client.HTTPException) as error:
            return f"it does not answer: {error}"
        else:
            return None if response.status == http.HTTPStatus.OK else said or "not ready"
        finally:
            connection.close()

    def _on_signal(self, _: int, __: FrameType | None) -> None:
        self._signals += 1


def environment(settings: Settings, servers: Servers) -> dict[str, str]:
    """The environment that makes another process use the same servers and directories."""
    return {
        **os.environ,
        **{setting.name: setting.value for setting in settings.origins},
        "REDIS_URL": servers.redis_url,
        "DATABASE_URL": servers.database_url,
        **{one.name: _absolute(str(settings[one])) for one in declared().values() if one.below is not None},
        "PLAYHEAD_DATA_DIR": str(settings.data_dir.absolute()),
    }


def _absolute(place: str) -> str:
    return place if "://" in place else str(Path(place).absolute())
