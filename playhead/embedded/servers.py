"""The embedded servers of a data directory: the owner starts and stops them, other processes find them."""

import os
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Literal

import msgspec

from playhead.embedded.directory import (
    AccessToServers,
    Leftovers,
    Running,
    RunningServers,
    forget_running,
    load_access,
    load_running,
    owned,
    refuse_replaced,
    reporting_trouble,
    save_access,
    save_running,
)
from playhead.embedded.errors import ServerDidNotStart
from playhead.embedded.revival import Revival
from playhead.terminal.output import say

_ANSWER_SECONDS = 2.0
_BUSY_SECONDS = 30.0
"""After which a server whose process is there counts as silent."""


class Servers(msgspec.Struct, frozen=True):
    """The address of a server is None if that server was not asked for."""

    redis_url: str | None
    database_url: str | None


_own: dict[Path, Revival] = {}
"""Of the servers that this process runs, by their data directory."""


@contextmanager
def embedded_servers(
    data_dir: Path,
    *,
    redis: bool = True,
    postgres: bool = True,
    tcp: bool = False,
    prepare: Callable[[Servers], None] = lambda _: None,
) -> Generator[Servers, None, None]:
    """Runs the servers until the block ends, however it ends.

    They listen on Unix sockets that only this user reaches, or with `tcp` on ports of 127.0.0.1 instead.

    If they do not start, or `prepare` fails, nothing is left in a directory that was not there before, except the log
    of a server, which the error names then.

    Enter it in the main thread: Linux stops the servers when the thread that started them is gone, which is how they
    end with an owner that was killed.

    Raises:
        EmbeddedServerError: One of `playhead.embedded.errors`, whose message says what to do.
        Untrusted: Another user could write in the directory, or get at the sockets.
    """
    data_dir = data_dir.absolute()
    with ExitStack() as running:
        with reporting_trouble(data_dir):
            leftovers = running.enter_context(owned(data_dir))
            try:
                servers = _start(data_dir, running, leftovers, redis=redis, postgres=postgres, tcp=tcp)
            except ServerDidNotStart:
                leftovers.kept = True
                raise
        prepare(servers)
        leftovers.kept = True
        yield servers


def running_servers(data_dir: Path, *, redis: bool = True, postgres: bool = True) -> Servers | None:
    """The servers that a process, this or another, runs in the directory and that answer now; None without any.

    Only those asked for are looked at.

    Raises:
        DataDirectoryUnusable: The directory belongs to another user.
        Untrusted: Another user could write in the directory, or get at the sockets.
    """
    with reporting_trouble(data_dir):
        found = load_running(data_dir)
        if found is None:
            return None
        refuse_replaced(found)
    valkey = found.valkey if redis and found.valkey and _valkey_lives(found.valkey) else None
    database = found.postgres if postgres and found.postgres and _postgres_lives(found.postgres) else None
    return _servers(valkey, database) if valkey or database else None


def revive(data_dir: Path, tell: Callable[[str], object]) -> None:
    """Start those servers of this process again that ended and are due; `tell` gets what is to be said of it."""
    _own[data_dir.absolute()].look(tell)


def is_silent(data_dir: Path, name: Literal["valkey", "postgres"]) -> bool:
    """Whether the process of a server is there: asked if `running_servers` has no answer from it."""
    found = load_running(data_dir)
    server: Running | None = getattr(found, name) if found else None
    return server is not None and _is_alive(server.pid)


def _start(
    data_dir: Path, running: ExitStack, leftovers: Leftovers, *, redis: bool, postgres: bool, tcp: bool
) -> Servers:
    from playhead.embedded.postgres import Postgres
    from playhead.embedded.sockets import Sockets
    from playhead.embedded.valkey import Valkey

    forget_running(data_dir)  # an owner that was killed could not
    access = load_access(data_dir)
    sockets = None if tcp else Sockets(data_dir, access.sockets)
    if sockets is not None and sockets.directory.parent != data_dir:
        leftovers.outside = sockets.directory
    valkey = Valkey(data_dir, access.valkey, sockets) if redis else None
    database = Postgres(data_dir, access.postgres, access.superuser, sockets) if postgres else None
    started = [server for server in (valkey, database) if server is not None]
    for server in started:
        running.callback(server.stop)
        server.start()
    for server in started:
        server.wait_until_ready()
    known = AccessToServers(
        valkey=valkey.access if valkey else access.valkey,
        postgres=database.access if database else access.postgres,
        superuser=access.superuser,
        sockets=str(sockets.directory) if sockets else access.sockets,
    )
    if known != access:
        save_access(data_dir, known)
    now = RunningServers(
        owner=os.getpid(),
        valkey=valkey.running if valkey else None,
        postgres=database.running if database else None,
        sockets=str(sockets.directory) if sockets else None,
    )
    running.callback(forget_running, data_dir)
    save_running(data_dir, now)
    by_name = {"valkey": valkey, "postgres": database}
    _own[data_dir] = Revival(data_dir, {name: one for name, one in by_name.items() if one is not None}, now)
    running.callback(_own.pop, data_dir)
    return _servers(now.valkey, now.postgres)


def _servers(valkey: Running | None, postgres: Running | None) -> Servers:
    return Servers(redis_url=valkey and valkey.url, database_url=postgres and postgres.url)


def _valkey_lives(server: Running) -> bool:
    from playhead.embedded.valkey import answers

    return _lives("valkey", server, partial(answers, server.url, server.pid))


def _postgres_lives(server: Running) -> bool:
    from playhead.embedded.postgres import answers

    return _lives("postgres", server, partial(answers, server.url))


def _lives(name: str, server: Running, answers: Callable[[float], bool]) -> bool:
    """Whether a server answers: at once, or, if its process is there and accepts connections, once it is less busy."""
    if not _is_alive(server.pid):
        return False
    began = time.monotonic()
    if answers(_ANSWER_SECONDS):
        return True
    if time.monotonic() - began < _ANSWER_SECONDS:
        return False
    say(f"the embedded {name} is busy; waiting up to {_BUSY_SECONDS:.0f} seconds for it")
    return answers(_BUSY_SECONDS)


def _is_alive(pid: int) -> bool:
    """Asked first, so that a password is not shown to whoever took the port of a server that is gone."""
    with suppress(PermissionError):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
    return True
