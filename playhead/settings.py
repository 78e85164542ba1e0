"""Settings: flag, then environment, then `.env`, then `playhead.toml`, then default."""

import os
import tomllib
from pathlib import Path
from typing import cast
from urllib.parse import quote

import msgspec
from dotenv import dotenv_values

from playhead.embedded.servers import running_servers
from streams.errors import InvalidSetting, PlayheadError
from streams.names import ENVIRONMENT_PREFIX

DEFAULT_DATA_DIR = Path("playhead-data")


class ServersNotRunning(PlayheadError):
    """No servers: start `playhead up --data-dir DIR` in another terminal, or set REDIS_URL and DATABASE_URL."""


class Setting(msgspec.Struct, frozen=True):
    """A value and where it came from."""

    name: str
    value: str
    origin: str


class Settings(msgspec.Struct, frozen=True):
    """Every setting of this invocation."""

    data_dir: Path
    redis_url: str | None
    database_url: str | None
    output_dir: Path
    event_log_dir: Path
    partitions: int
    http_host: str
    http_port: int
    lease_seconds: float
    origins: tuple[Setting, ...] = ()

    @property
    def embedded(self) -> bool:
        """Whether the servers are the embedded ones of the data directory."""
        return self.redis_url is None or self.database_url is None


class Servers(msgspec.Struct, frozen=True):
    """URLs of the servers to use."""

    redis_url: str
    database_url: str


_DEFAULTS = {
    "REDIS_URL": "",
    "DATABASE_URL": "",
    "OUTPUT_DIR": "",
    "EVENT_LOG_DIR": "",
    "PLAYHEAD_DATA_DIR": str(DEFAULT_DATA_DIR),
    "PLAYHEAD_PARTITIONS": "1",
    "PLAYHEAD_HTTP_HOST": "127.0.0.1",
    "PLAYHEAD_HTTP_PORT": "0",
    "PLAYHEAD_LEASE_SECONDS": "5",
}


def load(data_dir: Path | None = None) -> Settings:
    """Read the settings of this directory and environment.

    Raises:
        InvalidSetting: names the setting and where its value came from.
    """
    found = {name: _find(name, data_dir) for name in _DEFAULTS}

    def number(name: str, lowest: float) -> float:
        setting = found[name]
        try:
            value = float(setting.value)
        except ValueError:
            value = float("nan")
        if not value >= lowest:
            raise InvalidSetting(
                f"{name} is {setting.value!r} ({setting.origin}); it must be a number from {lowest:g} up"
            )
        return value

    directory = Path(found["PLAYHEAD_DATA_DIR"].value)
    return Settings(
        data_dir=directory,
        redis_url=found["REDIS_URL"].value or None,
        database_url=found["DATABASE_URL"].value or None,
        output_dir=Path(found["OUTPUT_DIR"].value or directory / "outputs"),
        event_log_dir=Path(found["EVENT_LOG_DIR"].value or directory / "eventlog"),
        partitions=int(number("PLAYHEAD_PARTITIONS", 1)),
        http_host=found["PLAYHEAD_HTTP_HOST"].value,
        http_port=int(number("PLAYHEAD_HTTP_PORT", 0)),
        lease_seconds=number("PLAYHEAD_LEASE_SECONDS", 1),
        origins=tuple(found.values()),
    )


def servers(settings: Settings) -> Servers:
    """The servers that the settings name, or the embedded ones that run in the data directory.

    Raises:
        ServersNotRunning: there are none.
    """
    running = running_servers(settings.data_dir) if settings.embedded else None
    redis_url = settings.redis_url or (running.redis_url if running else None)
    database_url = settings.database_url or (running.database_url if running else None)
    if redis_url is None or database_url is None:
        raise ServersNotRunning(f"{ServersNotRunning.__doc__} (looked in {settings.data_dir})")
    return Servers(redis_url, database_url)


def _find(name: str, data_dir: Path | None) -> Setting:
    if name == "PLAYHEAD_DATA_DIR" and data_dir is not None:
        return Setting(name, str(data_dir), "flag")
    if value := os.environ.get(name):
        return Setting(name, value, "environment")
    if value := dotenv_values(".env").get(name):
        return Setting(name, value, ".env")
    key = name.removeprefix(ENVIRONMENT_PREFIX).lower()
    if (value := _toml().get(key)) is not None:
        return Setting(name, str(value), "playhead.toml")
    if name == "REDIS_URL" and (host := os.environ.get("REDIS_HOST")):
        return Setting(name, _redis_url(host), "REDIS_HOST")
    return Setting(name, _DEFAULTS[name], "default")


def _toml() -> dict[str, object]:
    path = Path("playhead.toml")
    if not path.exists():
        return {}
    try:
        return cast("dict[str, object]", tomllib.loads(path.read_text()))
    except tomllib.TOMLDecodeError as error:
        raise InvalidSetting(f"playhead.toml is not TOML: {error}") from error


def _redis_url(host: str) -> str:
    scheme = "rediss" if os.environ.get("REDIS_SSL", "").lower() in {"1", "true", "yes"} else "redis"
    password = os.environ.get("REDIS_PASSWORD")
    credentials = f":{quote(password, safe='')}@" if password else ""
    return f"{scheme}://{credentials}{host}:{os.environ.get('REDIS_PORT', '6379')}/{os.environ.get('REDIS_DB', '0')}"
