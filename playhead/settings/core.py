"""The settings of core; those of each domain stand in its declaration."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal, TypeVar, cast, get_args

from playhead.streams import names
from playhead.streams.domains.domain import Domain
from playhead.streams.domains.settings import (
    Setting,
    choice,
    location,
    number,
    optional_path,
    optional_whole,
    schema_name,
    text,
    truth,
    whole,
)
from playhead.streams.errors import DomainsCollide
from playhead.streams.names import ENVIRONMENT_PREFIX, DomainVariable
from playhead.streams.partitions import MOST_PARTITIONS

LogFormat = Literal["auto", "console", "json"]
LogLevel = Literal["info", "warning", "error", "critical"]
DEFAULT_DATA_DIR = Path("playhead-data")
HIGHEST_PORT = 65535

_Value = TypeVar("_Value")
CORE: dict[str, Setting[Any]] = {}
"""Every setting of core, by name; an empty default is derived from others."""


def toml_key(name: str) -> str:
    """The key of a setting in `playhead.toml`."""
    return name.removeprefix(ENVIRONMENT_PREFIX).lower()


def refuse_taken(domains: Iterable[Domain]) -> None:
    """Refuse a domain that declares a setting of core.

    Raises:
        DomainsCollide: names both.
    """
    core = {toml_key(name): name for name in CORE}
    for domain in domains:
        for name in domain.settings:
            if toml_key(name) in core:
                raise DomainsCollide(
                    f"playhead declares the setting {core[toml_key(name)]}, and {domain.module} declares {name}:"
                    f" rename that of {domain.module}"
                )


def _setting(
    name: str,
    default: object,
    help: str,
    read: Callable[[str], _Value],
    *,
    secret: bool = False,
    below: str | None = None,
    title: str | None = None,
) -> Setting[_Value]:
    setting = Setting(name, str(default), help, read, secret=secret, below=below, title=title)
    CORE[name] = setting
    return setting


REDIS_URL = _setting("REDIS_URL", "", "The URL of Redis; embedded if neither it nor REDIS_HOST is set.", text)
REDIS_HOST = _setting("REDIS_HOST", "", "The host of Redis, used if REDIS_URL is not set.", text)
REDIS_PORT = _setting("REDIS_PORT", 6379, "The port at REDIS_HOST.", whole(1, HIGHEST_PORT))
REDIS_DB = _setting("REDIS_DB", 0, "The number of the database at REDIS_HOST.", whole(0))
REDIS_PASSWORD = _setting("REDIS_PASSWORD", "", "The password at REDIS_HOST.", text, secret=True)
REDIS_SSL = _setting("REDIS_SSL", "false", "Whether Redis at REDIS_HOST uses TLS.", truth)
REDIS_TIMEOUT = _setting("REDIS_TIMEOUT", 5, "Seconds to wait for an answer of Redis.", number(1))
DATABASE_URL = _setting("DATABASE_URL", "", "The URL of Postgres; embedded if it is not set.", text)
SCHEMA = _setting("PLAYHEAD_SCHEMA", names.SCHEMA, "The schema of Playhead's tables in Postgres.", schema_name)
DATA_DIR = _setting(
    "PLAYHEAD_DATA_DIR", DEFAULT_DATA_DIR, "Embedded servers, and data without its own directory.", Path
)
EMBEDDED_TCP = _setting(
    "PLAYHEAD_EMBEDDED_TCP",
    "false",
    "Embedded servers listen on ports of 127.0.0.1 in place of Unix sockets.",
    truth,
)
EVENT_LOG_DIR = _setting("EVENT_LOG_DIR", "", "The event log.", Path, below="eventlog", title="event log")
BLOB_DIR = _setting(
    "PLAYHEAD_BLOB_DIR", "", "Content above 256 KiB: a directory or s3://bucket/prefix.", location, below="blobs"
)
CURSORS_DIR = _setting(
    "PLAYHEAD_CURSORS_DIR",
    "",
    "Where `status` looks for cursors that subscriptions keep by name.",
    Path,
    below="cursors",
)
DOMAINS = _setting(
    DomainVariable.DOMAINS, "", "Domains besides those of installed packages: module:attribute, ...", text
)
PARTITIONS = _setting(
    "PLAYHEAD_PARTITIONS",
    "",
    "Partitions of a new stream, 1 if it is not set; recorded then, and another number is refused.",
    optional_whole(1, MOST_PARTITIONS),
)
HTTP_HOST = _setting("PLAYHEAD_HTTP_HOST", "127.0.0.1", "Where consumers serve health and metrics.", text)
HTTP_PORT = _setting("PLAYHEAD_HTTP_PORT", 0, "The port there, 0 for any free one.", whole(0, HIGHEST_PORT))
LEASE_SECONDS = _setting(
    "PLAYHEAD_LEASE_SECONDS",
    5,
    "Seconds after which a process without a heartbeat loses its leases and holds.",
    number(1),
)
BATCH = _setting("PLAYHEAD_BATCH", 500, "The most events in one batch of a consumer.", whole(1))
CONCURRENCY = _setting(
    "PLAYHEAD_CONCURRENCY", os.cpu_count() or 1, "Events that a worker process works on at once.", whole(1)
)
MAX_ATTEMPTS = _setting("PLAYHEAD_MAX_ATTEMPTS", 5, "Attempts of a worker before it parks an event.", whole(1))
SPOOL_DIR = _setting("PLAYHEAD_SPOOL_DIR", "", "Where `append` keeps events while Redis is unavailable.", optional_path)
ALLOW_INSECURE = _setting(
    "PLAYHEAD_ALLOW_INSECURE",
    "false",
    "Allow servers on other machines without a password, or without TLS that checks who answers.",
    truth,
)
LOG_FORMAT = _setting(
    "PLAYHEAD_LOG_FORMAT",
    "auto",
    "The format of messages: console, json, or auto (console on a terminal, JSON elsewhere).",
    cast("Callable[[str], LogFormat]", choice(*get_args(LogFormat))),
)
LOG_LEVEL = _setting(
    "PLAYHEAD_LOG_LEVEL",
    "info",
    "The least important messages that a process writes: info, warning, error or critical.",
    cast("Callable[[str], LogLevel]", choice(*get_args(LogLevel))),
)
