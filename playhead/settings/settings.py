"""Settings: flag, then environment, then `.env`, then `playhead.toml`, then default."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import msgspec

from playhead.settings import core
from playhead.settings.core import CORE, DATA_DIR, LogFormat, LogLevel, refuse_taken
from playhead.settings.errors import InvalidValue
from playhead.settings.sources import Given, Sources
from playhead.settings.urls import check_exposure, check_urls, make_redis_url
from playhead.streams.domains.discovery import installed
from playhead.streams.domains.domain import INTERVAL, is_interval
from playhead.streams.domains.settings import Setting, Value_co, location
from playhead.streams.errors import DomainInvalid, InvalidSetting


class Settings(msgspec.Struct, frozen=True):
    """Every setting of this invocation; `settings[setting]` gives the value of any that is declared."""

    values: Mapping[str, object]
    origins: tuple[Given, ...]

    def __getitem__(self, setting: Setting[Value_co], /) -> Value_co:
        """The value of a setting of core or of an installed domain."""
        return cast("Value_co", self.values[setting.name])

    @property
    def data_dir(self) -> Path:
        """PLAYHEAD_DATA_DIR."""
        return self[DATA_DIR]

    @property
    def redis_url(self) -> str | None:
        """REDIS_URL, or what REDIS_HOST stands for; None for the embedded server."""
        return self[core.REDIS_URL] or None

    @property
    def database_url(self) -> str | None:
        """DATABASE_URL; None for the embedded server."""
        return self[core.DATABASE_URL] or None

    @property
    def event_log_dir(self) -> Path:
        """EVENT_LOG_DIR."""
        return self[core.EVENT_LOG_DIR]

    @property
    def blob_dir(self) -> str:
        """PLAYHEAD_BLOB_DIR."""
        return self[core.BLOB_DIR]

    @property
    def partitions(self) -> int | None:
        """PLAYHEAD_PARTITIONS, None if it is not set: the number of a stream is recorded in Redis."""
        return self[core.PARTITIONS]

    @property
    def redis_timeout(self) -> float:
        """REDIS_TIMEOUT, in seconds."""
        return self[core.REDIS_TIMEOUT]

    @property
    def lease_seconds(self) -> float:
        """PLAYHEAD_LEASE_SECONDS."""
        return self[core.LEASE_SECONDS]

    @property
    def http_host(self) -> str:
        """PLAYHEAD_HTTP_HOST."""
        return self[core.HTTP_HOST]

    @property
    def http_port(self) -> int:
        """PLAYHEAD_HTTP_PORT."""
        return self[core.HTTP_PORT]

    @property
    def log_format(self) -> LogFormat:
        """PLAYHEAD_LOG_FORMAT."""
        return self[core.LOG_FORMAT]

    @property
    def log_level(self) -> LogLevel:
        """PLAYHEAD_LOG_LEVEL."""
        return self[core.LOG_LEVEL]

    @property
    def spool_dir(self) -> Path | None:
        """PLAYHEAD_SPOOL_DIR, None if events are not spooled."""
        return self[core.SPOOL_DIR]

    @property
    def embedded_tcp(self) -> bool:
        """PLAYHEAD_EMBEDDED_TCP."""
        return self[core.EMBEDDED_TCP]

    @property
    def embedded(self) -> bool:
        """Whether a server is the embedded one of the data directory."""
        return self.redis_url is None or self.database_url is None

    def replaced(self, setting: Setting[Value_co], value: object) -> "Settings":
        """The same settings with another value of one."""
        return msgspec.structs.replace(self, values={**self.values, setting.name: value})

    def moved(self, directory: Path) -> "Settings":
        """The same settings with every place below a directory, wherever it was."""
        places = {name: _below(setting, directory) for name, setting in declared().items() if setting.below is not None}
        return msgspec.structs.replace(self, values={**self.values, DATA_DIR.name: directory, **places})


def declared() -> dict[str, Setting[Any]]:
    """Every setting of core and of the installed domains, by name.

    Raises:
        DomainsCollide: a domain declares a setting of core.
        DomainInvalid: a clock or a projection refers to a setting that nobody declares.
    """
    refuse_taken(installed().domains)
    found = {**CORE, **installed().settings}
    for name, setting in _referred():
        if found.get(setting.name) is not setting:
            raise DomainInvalid(
                f"{name} refers to the setting {setting.name}, which no installed domain declares: make it with"
                " Domain.setting, Domain.directory or Domain.location"
            )
    return found


def load(data_dir: Path | None = None) -> Settings:
    """Read the settings of this directory and environment.

    Raises:
        InvalidSetting: names the setting and where its value came from.
    """
    return _settings(_find_all(data_dir))


def problems(data_dir: Path | None = None) -> list[str]:
    """A sentence for each value that cannot be used."""
    found, said = _find_all(data_dir), list[str]()
    while True:
        try:
            _settings(found)
        except InvalidValue as error:
            said.append(str(error))
            for name in (error.name, "REDIS_HOST") if error.name == "REDIS_URL" else (error.name,):
                found[name] = Given(name, declared()[name].default, "default")
        else:
            return said


def unknown_settings() -> list[str]:
    """A sentence for each key that no setting has, with the nearest that one has."""
    return Sources().unknown(declared())


def output_directory(settings: Settings, place: Setting[str], use: str) -> Path:
    """A place if it is a directory.

    Raises:
        InvalidSetting: it is a bucket, which `use` cannot do with.
    """
    if "://" in settings[place]:
        raise InvalidSetting(f"{place.name} is {settings[place]}; {use} needs a directory")
    return Path(settings[place])


def event_log(settings: Settings) -> Path:
    """EVENT_LOG_DIR if it is there: a directory that is not there is another place's, and no empty log.

    Raises:
        InvalidSetting: there is none.
    """
    if not settings.event_log_dir.is_dir():
        raise InvalidSetting(
            f"there is no event log in {settings.event_log_dir}: pass --data-dir, or set EVENT_LOG_DIR"
        )
    return settings.event_log_dir


def _referred() -> Iterator[tuple[str, Setting[Any]]]:
    """The settings that declarations of consumers refer to, with the consumer."""
    for clock in installed().clocks.values():
        if isinstance(clock.every, Setting):
            yield clock.name, clock.every
    for projection in installed().projections.values():
        if projection.place is not None:
            yield projection.name, projection.place


def _find_all(data_dir: Path | None) -> dict[str, Given]:
    sources = Sources()
    found = {name: sources.find(setting) for name, setting in declared().items()}
    if data_dir is not None:
        found[DATA_DIR.name] = Given(DATA_DIR.name, str(data_dir), "flag")
    return found


def _settings(found: Mapping[str, Given]) -> Settings:
    found = dict(found)
    if not found["REDIS_URL"].value and found["REDIS_HOST"].value:
        found["REDIS_URL"] = Given("REDIS_URL", _redis_url(found), "REDIS_HOST")
    check_urls(found["REDIS_URL"], found["DATABASE_URL"])
    if not _read(core.ALLOW_INSECURE, found):
        places = [found[name] for name, setting in declared().items() if setting.read is location]
        check_exposure(found["REDIS_URL"], found["DATABASE_URL"], places)
    directory = Path(found[DATA_DIR.name].value)
    for name, setting in declared().items():
        if setting.below is not None and not found[name].value:
            found[name] = msgspec.structs.replace(found[name], value=str(directory / setting.below))
    values = {name: _read(setting, found) for name, setting in declared().items()}
    for clock in installed().clocks.values():
        if isinstance(clock.every, Setting) and not is_interval(values[clock.every.name]):
            given = found[clock.every.name]
            raise InvalidValue(
                given, f"is {given.shown!r}; it must be {INTERVAL}: the clock {clock.name} runs that often"
            )
    return Settings(values, tuple(found.values()))


def _read(setting: Setting[Value_co], found: Mapping[str, Given]) -> Value_co:
    given = found[setting.name]
    try:
        return setting.parse(given.value)
    except InvalidSetting as error:
        raise InvalidValue(given, f"is {given.shown!r}; {error}") from None


def _redis_url(found: Mapping[str, Given]) -> str:
    return make_redis_url(
        found["REDIS_HOST"].value,
        _read(core.REDIS_PORT, found),
        _read(core.REDIS_DB, found),
        found["REDIS_PASSWORD"].value,
        tls=_read(core.REDIS_SSL, found),
    )


def _below(setting: Setting[Any], directory: Path) -> object:
    return setting.read(str(directory / str(setting.below)))
