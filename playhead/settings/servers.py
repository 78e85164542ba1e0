"""The servers of an invocation: those that settings name, or the embedded ones that run in the data directory."""

from pathlib import Path

import msgspec

from playhead.embedded.servers import running_servers
from playhead.settings.core import DEFAULT_DATA_DIR, SCHEMA
from playhead.settings.errors import ServersNotRunning
from playhead.settings.settings import Settings
from playhead.streams import names


class Servers(msgspec.Struct, frozen=True):
    """URLs of the servers that are set or run embedded, None if there is none, and the schema of the tables.

    Asking for `redis_url` or `database_url` raises ServersNotRunning then: a command fails only for what it needs.
    """

    redis: str | None
    database: str | None
    data_dir: Path = DEFAULT_DATA_DIR
    schema: str = names.SCHEMA

    @property
    def redis_url(self) -> str:
        """The URL of Redis."""
        if self.redis is None:
            raise ServersNotRunning("REDIS_URL", self.data_dir)
        return self.redis

    @property
    def database_url(self) -> str:
        """The URL of Postgres."""
        if self.database is None:
            raise ServersNotRunning("DATABASE_URL", self.data_dir)
        return self.database


def servers(settings: Settings, *, redis: bool = True, postgres: bool = True) -> Servers:
    """The servers that the settings name, or the embedded ones that run in the data directory, of those asked for."""
    redis, postgres = redis and settings.redis_url is None, postgres and settings.database_url is None
    running = running_servers(settings.data_dir, redis=redis, postgres=postgres) if redis or postgres else None
    return Servers(
        settings.redis_url or (running.redis_url if running else None),
        settings.database_url or (running.database_url if running else None),
        settings.data_dir,
        settings[SCHEMA],
    )
