"""`playhead demo`: the whole product on embedded servers, in a fresh directory."""

import tempfile
from contextlib import suppress
from pathlib import Path

from redis import Redis

from playhead.demo import Demo
from playhead.embedded.servers import embedded_servers
from playhead.embedded.supervisor import Supervisor
from playhead.projections.migrations import upgrade
from playhead.settings.core import SCHEMA
from playhead.settings.servers import Servers
from playhead.settings.settings import load
from playhead.streams.domains.discovery import installed
from playhead.streams.domains.domain import resolve
from playhead.streams.redis.connections import connect
from playhead.terminal import diagnostics
from playhead.wiring import lacking


def demo() -> int:
    """Show the whole product on embedded servers, in a fresh directory.

    Example:
        playhead demo
    """
    diagnostics.configure()
    return run_demo()


def run_demo() -> int:
    """Start everything in a fresh directory, which is removed if nothing starts."""
    directory = Path(tempfile.mkdtemp(prefix="playhead-demo-"))
    try:
        return _show_in(directory)
    except BaseException:
        with suppress(OSError):  # something is in it
            directory.rmdir()
        raise


def _show_in(directory: Path) -> int:
    """Start everything, and let each domain show what it does."""
    settings = load(directory).moved(directory)  # whatever is set: the demo deletes what lies there
    catalogue, missing = installed(), lacking(settings)
    with (
        embedded_servers(directory, tcp=settings.embedded_tcp) as running,
        (directory / Demo.MESSAGES).open("wb") as messages,
    ):
        servers = Servers(running.redis_url, running.database_url, schema=settings[SCHEMA])
        upgrade(servers.database_url, schema=servers.schema)
        client = connect(servers.redis_url)
        assert isinstance(client, Redis), "the embedded server is no cluster"
        names = [name for name in catalogue.consumers if name not in missing and name not in catalogue.clocks]
        supervisor = Supervisor(settings, servers, names, messages=messages)
        supervisor.start()
        try:
            show = Demo(client, settings, servers, messages, missing)
            show.step(f"Valkey, Postgres and a process for each consumer run in {directory}")
            for target in catalogue.extensions("demo"):
                resolve(target)(show)
        finally:
            supervisor.stop()
    up = f"{show.command('up')}    # then, in another terminal:"
    lines = (show.command("log cat"), up, show.command("status"), *show.next)
    show.say("\n".join(("\nLook next:", *(f"  {line}" for line in lines))))
    show.say(f"Everything is in {directory}; delete it when you are done.")
    return 0
