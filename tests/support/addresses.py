"""Where a server listens: a port or a Unix socket."""

import json
import socket
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from playhead.embedded.servers import running_servers
from playhead.streams.redis.connections import RedisAddress

Address = str | tuple[str, int]
"""The path of a socket, or host and port."""


def address(url: str) -> Address:
    """Of the server that a URL, or a connection string of libpq, names."""
    if url.startswith("postgres") or "://" not in url:
        at = conninfo_to_dict(url)
        host, port = str(at["host"]), int(at["port"])
        return f"{host}/.s.PGSQL.{port}" if host.startswith("/") else (host, port)
    redis = RedisAddress.parse(url)
    return redis.options["path"] if redis.scheme == "unix" else redis.hosts[0]


def dial(at: Address) -> socket.socket:
    """A connection to a server."""
    if isinstance(at, tuple):
        return socket.create_connection(at)
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(at)
    except OSError:
        connection.close()
        raise
    return connection


def superuser_url(data_dir: Path) -> str:
    """The URL of the superuser of the embedded Postgres that runs in a directory."""
    password = json.loads((data_dir / "access.json").read_text())["superuser"]
    url = running_servers(data_dir, redis=False).database_url
    return make_conninfo(url, user="playhead_superuser", password=password)
