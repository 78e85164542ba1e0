"""Settings: flag, then environment, then `.env`, then `playhead.toml`, then default."""

import difflib
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal, cast, get_args
from urllib.parse import quote, urlsplit

import msgspec

from playhead.embedded.servers import is_silent, running_servers
from playhead.projections.content.levels import DEFAULT_LEVEL, HIGHEST_LEVEL, LOWEST_LEVEL
from playhead.streams.errors import InvalidSetting, PlayheadError
from playhead.streams.names import ENVIRONMENT_PREFIX
from playhead.streams.storage.objects import FORMS, Objects

DEFAULT_DATA_DIR = Path("playhead-data")
DOTENV, TOML = Path(".env"), Path("playhead.toml")

LogFormat = Literal["auto", "console", "json"]


class ServersNotRunning(PlayheadError):
    """No server: start `playhead up` in another terminal, or name a server of your own in the setting."""

    def __init__(self, setting: str, data_dir: Path) -> None:
        name = "valkey" if setting == "REDIS_URL" else "postgres"
        super().__init__(
            f"the embedded {name} in {data_dir} does not answer: stop the `playhead up` that runs there, start it again"
            if is_silent(data_dir, name)
            else f"{setting} is not set and no embedded server runs in {data_dir}: start "
            f"`playhead up --data-dir {data_dir}` in another terminal, or set {setting}"
        )


class InvalidValue(InvalidSetting):
    """The value of a setting cannot be used: the message says which, from where, and what it must be."""

    def __init__(self, setting: "Setting", problem: str) -> None:
        super().__init__(f"{setting.name} ({setting.origin}) {problem}")
        self.name = setting.name


class Setting(msgspec.Struct, frozen=True):
    """A value and where it came from."""

    name: str
    value: str
    origin: str

    @property
    def shown(self) -> str:
        """The value with its secrets masked."""
        if self.name == "REDIS_PASSWORD":
            return _MASK if self.value else ""
        return mask(self.value) if self.name.endswith("_URL") else self.value


class Settings(msgspec.Struct, frozen=True):
    """Every setting of this invocation."""

    data_dir: Path
    redis_url: str | None
    database_url: str | None
    output_dir: str
    event_log_dir: Path
    recordings_dir: Path
    archive_dir: str
    blob_dir: str
    archive_level: int
    partitions: int
    http_host: str
    http_port: int
    lease_seconds: float
    redis_timeout: float
    batch: int
    concurrency: int
    max_attempts: int
    ffmpeg: Path | None
    transcode_seconds: float
    keep_chunks: bool
    promote_seconds: float
    sweep_seconds: float
    flush_seconds: float
    log_format: LogFormat
    spool_dir: Path | None
    origins: tuple[Setting, ...]

    @property
    def embedded(self) -> bool:
        """Whether the servers are the embedded ones of the data directory."""
        return self.redis_url is None or self.database_url is None


def output_directory(settings: Settings, use: str) -> Path:
    """OUTPUT_DIR where it is a directory.

    Raises:
        InvalidSetting: it is a bucket, which `use` cannot do with.
    """
    if "://" in settings.output_dir:
        raise InvalidSetting(f"OUTPUT_DIR is {settings.output_dir}; {use} needs a directory")
    return Path(settings.output_dir)


def event_log(settings: Settings) -> Path:
    """EVENT_LOG_DIR where there is one: a directory that is not there is another place's, and no empty log.

    Raises:
        InvalidSetting: there is none.
    """
    if not settings.event_log_dir.is_dir():
        raise InvalidSetting(
            f"there is no event log in {settings.event_log_dir}: pass --data-dir, or set EVENT_LOG_DIR"
        )
    return settings.event_log_dir


class Servers(msgspec.Struct, frozen=True):
    """URLs of the servers that are set or run embedded; None where there is none.

    Asking for `redis_url` or `database_url` raises ServersNotRunning then: a command fails only for what it needs.
    """

    redis: str | None
    database: str | None
    data_dir: Path = DEFAULT_DATA_DIR

    @property
    def redis_url(self) -> str:
        """Where Redis is."""
        if self.redis is None:
            raise ServersNotRunning("REDIS_URL", self.data_dir)
        return self.redis

    @property
    def database_url(self) -> str:
        """Where Postgres is."""
        if self.database is None:
            raise ServersNotRunning("DATABASE_URL", self.data_dir)
        return self.database


DEFAULTS = {
    "REDIS_URL": "",
    "REDIS_HOST": "",
    "REDIS_PORT": "6379",
    "REDIS_DB": "0",
    "REDIS_PASSWORD": "",
    "REDIS_SSL": "false",
    "REDIS_TIMEOUT": "5",
    "DATABASE_URL": "",
    "OUTPUT_DIR": "",
    "EVENT_LOG_DIR": "",
    "PLAYHEAD_RECORDINGS_DIR": "",
    "ARCHIVE_DIR": "",
    "PLAYHEAD_DATA_DIR": str(DEFAULT_DATA_DIR),
    "PLAYHEAD_PARTITIONS": "1",
    "PLAYHEAD_HTTP_HOST": "127.0.0.1",
    "PLAYHEAD_HTTP_PORT": "0",
    "PLAYHEAD_LEASE_SECONDS": "5",
    "PLAYHEAD_BATCH": "500",
    "PLAYHEAD_CONCURRENCY": str(os.cpu_count() or 1),
    "PLAYHEAD_MAX_ATTEMPTS": "5",
    "PLAYHEAD_FFMPEG": "",
    "PLAYHEAD_TRANSCODE_SECONDS": "60",
    "PLAYHEAD_KEEP_CHUNKS": "false",
    "PLAYHEAD_PROMOTE_SECONDS": "300",
    "PLAYHEAD_SWEEP_SECONDS": "86400",
    "PLAYHEAD_FLUSH_SECONDS": "10",
    "PLAYHEAD_LOG_FORMAT": "auto",
    "PLAYHEAD_SPOOL_DIR": "",
    "PLAYHEAD_ALLOW_INSECURE": "false",
    "PLAYHEAD_BLOB_DIR": "",
    "PLAYHEAD_ARCHIVE_LEVEL": str(DEFAULT_LEVEL),
}
"""Every setting and its default; an empty one is derived from others."""

_BELOW_DATA_DIR = {
    "OUTPUT_DIR": "outputs",
    "EVENT_LOG_DIR": "eventlog",
    "PLAYHEAD_RECORDINGS_DIR": "recordings",
    "ARCHIVE_DIR": "archives",
    "PLAYHEAD_BLOB_DIR": "blobs",
}
_MASK = "***"
_TRUE, _FALSE = frozenset({"1", "true", "yes", "on"}), frozenset({"0", "false", "no", "off"})
_HIGHEST_PORT = 65535
_SLIP = 0.88


def load(data_dir: Path | None = None) -> Settings:
    """Read the settings of this directory and environment.

    Raises:
        InvalidSetting: names the setting and where its value came from.
    """
    return _settings(_find_all(data_dir))


def problems(data_dir: Path | None = None) -> list[str]:
    """A sentence for each value that cannot be used."""
    found = _find_all(data_dir)
    said: list[str] = []
    while True:
        try:
            _settings(found)
        except InvalidValue as error:
            said.append(str(error))
            for name in (error.name, "REDIS_HOST") if error.name == "REDIS_URL" else (error.name,):
                found[name] = Setting(name, DEFAULTS[name], "default")
        else:
            return said


def servers(settings: Settings, *, redis: bool = True, postgres: bool = True) -> Servers:
    """The servers that the settings name, or the embedded ones that run in the data directory, of those asked for."""
    redis, postgres = redis and settings.redis_url is None, postgres and settings.database_url is None
    running = running_servers(settings.data_dir, redis=redis, postgres=postgres) if redis or postgres else None
    return Servers(
        settings.redis_url or (running.redis_url if running else None),
        settings.database_url or (running.database_url if running else None),
        settings.data_dir,
    )


def unknown_settings() -> list[str]:
    """A sentence for each key that no setting has, with the nearest that one has.

    A name without the prefix may belong to another program: it is named where it is a slip away from one of ours.
    """
    sources = _Sources()
    keys = {_toml_key(name) for name in DEFAULTS}
    said = [
        _unknown(name, origin, DEFAULTS)
        for origin, values in (("environment", sources.environment), (str(DOTENV), sources.dotenv))
        for name in sorted(values.keys() - DEFAULTS.keys())
        if name.startswith(ENVIRONMENT_PREFIX) or _is_slip(name)
    ]
    return said + [_unknown(key, str(TOML), keys) for key in sorted(sources.toml.keys() - keys)]


def mask(url: str) -> str:
    """Hide the passwords of a URL, or of libpq's `key=value` form."""
    masked = re.sub(r"(?<=://)([^/?#:]*):[^/?#]*@|(?<=://)([^/?#:]*):.*@", _hide, url)
    return re.sub(r"(?i)(password\s*=\s*)('(?:[^'\\]|\\.)*'|[^\s&]*)", rf"\1{_MASK}", masked)


def _find_all(data_dir: Path | None) -> dict[str, Setting]:
    sources = _Sources()
    found = {name: sources.find(name) for name in DEFAULTS}
    if data_dir is not None:
        found["PLAYHEAD_DATA_DIR"] = Setting("PLAYHEAD_DATA_DIR", str(data_dir), "flag")
    return found


def _settings(found: Mapping[str, Setting]) -> Settings:
    found = dict(found)
    if not found["REDIS_URL"].value and found["REDIS_HOST"].value:
        found["REDIS_URL"] = Setting("REDIS_URL", _redis_url(found), "REDIS_HOST")
    _check_urls(found["REDIS_URL"], found["DATABASE_URL"])
    if not _yes(found["PLAYHEAD_ALLOW_INSECURE"]):
        _check_exposure(found["REDIS_URL"], found["DATABASE_URL"])
    directory = Path(found["PLAYHEAD_DATA_DIR"].value)
    for name, below in _BELOW_DATA_DIR.items():
        found[name] = msgspec.structs.replace(found[name], value=found[name].value or str(directory / below))
    return Settings(
        data_dir=directory,
        redis_url=found["REDIS_URL"].value or None,
        database_url=found["DATABASE_URL"].value or None,
        output_dir=_place(found["OUTPUT_DIR"]),
        event_log_dir=Path(found["EVENT_LOG_DIR"].value),
        recordings_dir=Path(found["PLAYHEAD_RECORDINGS_DIR"].value),
        archive_dir=_place(found["ARCHIVE_DIR"]),
        blob_dir=_place(found["PLAYHEAD_BLOB_DIR"]),
        archive_level=_whole(found["PLAYHEAD_ARCHIVE_LEVEL"], LOWEST_LEVEL, HIGHEST_LEVEL),
        partitions=_whole(found["PLAYHEAD_PARTITIONS"], 1),
        http_host=found["PLAYHEAD_HTTP_HOST"].value,
        http_port=_whole(found["PLAYHEAD_HTTP_PORT"], 0, _HIGHEST_PORT),
        lease_seconds=_number(found["PLAYHEAD_LEASE_SECONDS"], 1),
        redis_timeout=_number(found["REDIS_TIMEOUT"], 1),
        batch=_whole(found["PLAYHEAD_BATCH"], 1),
        concurrency=_whole(found["PLAYHEAD_CONCURRENCY"], 1),
        max_attempts=_whole(found["PLAYHEAD_MAX_ATTEMPTS"], 1),
        ffmpeg=Path(found["PLAYHEAD_FFMPEG"].value) if found["PLAYHEAD_FFMPEG"].value else None,
        transcode_seconds=_number(found["PLAYHEAD_TRANSCODE_SECONDS"], 1),
        keep_chunks=_yes(found["PLAYHEAD_KEEP_CHUNKS"]),
        promote_seconds=_number(found["PLAYHEAD_PROMOTE_SECONDS"], 0),
        sweep_seconds=_number(found["PLAYHEAD_SWEEP_SECONDS"], 60),
        flush_seconds=_number(found["PLAYHEAD_FLUSH_SECONDS"], 0.1),
        log_format=_log_format(found["PLAYHEAD_LOG_FORMAT"]),
        spool_dir=Path(found["PLAYHEAD_SPOOL_DIR"].value) if found["PLAYHEAD_SPOOL_DIR"].value else None,
        origins=tuple(found.values()),
    )


class _Sources:
    """What each source says, read once."""

    def __init__(self) -> None:
        self.environment: Mapping[str, str] = os.environ
        self.dotenv = _read_dotenv()
        self.toml = _read_toml()

    def find(self, name: str) -> Setting:
        if value := self.environment.get(name):
            return Setting(name, value, "environment")
        if value := self.dotenv.get(name):
            return Setting(name, value, str(DOTENV))
        if (given := self.toml.get(_toml_key(name))) is not None:
            if isinstance(given, dict | list):
                raise InvalidSetting(f"{_toml_key(name)} in {TOML} must be one value, no table or list")
            return Setting(name, str(given), str(TOML))
        return Setting(name, DEFAULTS[name], "default")


def _hide(found: re.Match[str]) -> str:
    return f"{found[1] if found[1] is not None else found[2]}:{_MASK}@"


def _toml_key(name: str) -> str:
    return name.removeprefix(ENVIRONMENT_PREFIX).lower()


def _read_dotenv() -> dict[str, str]:
    if not DOTENV.exists():
        return {}
    from dotenv import dotenv_values

    return {name: value for name, value in dotenv_values(DOTENV).items() if value is not None}


def _read_toml() -> dict[str, object]:
    if not TOML.exists():
        return {}
    import tomllib

    try:
        return cast("dict[str, object]", tomllib.loads(TOML.read_text()))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidSetting(f"{TOML} is not TOML: {error}") from error


def _unknown(name: str, origin: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"{name} ({origin}) is no setting" + (f"; did you mean {near[0]}?" if near else "")


def _is_slip(name: str) -> bool:
    near = difflib.get_close_matches(name, list(DEFAULTS), n=1, cutoff=_SLIP)
    return bool(near) and abs(len(near[0]) - len(name)) <= 1


def _number(setting: Setting, lowest: float) -> float:
    try:
        value = float(setting.value)
    except ValueError:
        value = float("nan")
    if not lowest <= value < float("inf"):
        raise _invalid(setting, f"a number from {lowest:g} up")
    return value


def _whole(setting: Setting, lowest: int, highest: int | None = None) -> int:
    text = setting.value.strip()
    value = int(text) if text.isascii() and text.isdecimal() else -1
    if value < lowest or (highest is not None and value > highest):
        limits = f"from {lowest} up" if highest is None else f"from {lowest} to {highest}"
        raise _invalid(setting, f"a whole number {limits}")
    return value


def _yes(setting: Setting) -> bool:
    value = setting.value.lower()
    if value not in _TRUE | _FALSE:
        raise _invalid(setting, "true or false")
    return value in _TRUE


def _place(setting: Setting) -> str:
    try:
        Objects(setting.value)
    except InvalidSetting:
        raise _invalid(setting, FORMS) from None
    return setting.value


def _log_format(setting: Setting) -> LogFormat:
    choices = cast("tuple[LogFormat, ...]", get_args(LogFormat))
    for choice in choices:
        if setting.value == choice:
            return choice
    raise _invalid(setting, f"one of {', '.join(choices)}")


def _invalid(setting: Setting, wanted: str) -> InvalidValue:
    return InvalidValue(setting, f"is {setting.shown!r}; it must be {wanted}")


def _redis_url(found: Mapping[str, Setting]) -> str:
    scheme = "rediss" if _yes(found["REDIS_SSL"]) else "redis"
    password = found["REDIS_PASSWORD"].value
    credentials = f":{quote(password, safe='')}@" if password else ""
    host, port = found["REDIS_HOST"].value, _whole(found["REDIS_PORT"], 1, _HIGHEST_PORT)
    return f"{scheme}://{credentials}{host}:{port}/{_whole(found['REDIS_DB'], 0)}"


def _check_urls(redis: Setting, database: Setting) -> None:
    """Refuse a URL that a library would refuse later with a message that quotes it, password and all."""
    advice = "cannot be read; write special characters of the password as %XX"
    if redis.value:
        from playhead.streams.redis.connections import RedisAddress

        try:
            if RedisAddress.parse(redis.value).scheme in {"redis", "rediss"}:
                _ = urlsplit(redis.value).port
        except InvalidSetting as error:
            raise InvalidValue(redis, str(error).removeprefix("REDIS_URL ")) from None
        except ValueError:
            raise InvalidValue(redis, advice) from None
    if database.value:
        import psycopg
        from psycopg.conninfo import conninfo_to_dict

        scheme, separator, _ = database.value.partition("://")
        if separator and "=" not in scheme and scheme not in {"postgresql", "postgres"}:
            raise InvalidValue(database, "must begin with postgresql://")
        try:
            port = str(conninfo_to_dict(database.value).get("port") or "")
        except psycopg.Error:
            raise InvalidValue(database, advice) from None
        if not re.fullmatch(r"[\d,]*", port, re.ASCII):
            raise InvalidValue(database, advice)


def _check_exposure(redis: Setting, database: Setting) -> None:
    for setting, look in ((redis, _redis_exposure), (database, _postgres_exposure)):
        problem = look(setting.value) if setting.value else None
        if problem is not None:
            raise InvalidValue(
                setting, f"{problem}, or set PLAYHEAD_ALLOW_INSECURE=true where everybody on the network is trusted"
            )


def _redis_exposure(url: str) -> str | None:
    from playhead.streams.redis.exposure import redis_exposure

    return redis_exposure(url)


def _postgres_exposure(conninfo: str) -> str | None:
    from playhead.settings.exposure import postgres_exposure

    return postgres_exposure(conninfo)
