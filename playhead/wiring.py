"""Wiring: what the domains declare, made with the settings and servers of this invocation."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from inspect import getmembers, isabstract
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from playhead.projections.verification import Foldable, Verifiable
from playhead.settings import core
from playhead.settings.errors import ServersNotRunning
from playhead.settings.servers import Servers, servers
from playhead.settings.settings import Settings, declared, load
from playhead.streams.domains.catalogue import LOG
from playhead.streams.domains.discovery import installed
from playhead.streams.domains.domain import Projection, resolve
from playhead.streams.domains.place import Place
from playhead.streams.errors import DomainInvalid, DomainNotLoaded, InvalidSetting
from playhead.streams.sinks import Sink

if TYPE_CHECKING:
    from playhead.consumers.work.handler import Handler
    from playhead.consumers.work.worker import WorkerSettings
    from playhead.eventlog.replay.files import FileSource
    from playhead.projections.file_projection import FileProjection
    from playhead.projections.file_verification import FileVerification
    from playhead.streams.appending.producer import Producer

_SERVERS = ("valkey", "postgres")
"""Directories of the embedded servers below the data directory."""
_ATTRIBUTES, _METHODS = ("name", "streams", "exclusive"), ("open", "apply", "settle", "close", "classify")
"""What every sink has."""


def place_of(name: str, settings: Settings, servers: Servers) -> Place:
    """The place of a projection, worker or clock."""
    catalogue = installed()
    return Place(
        name,
        catalogue=catalogue,
        database_url=lambda: servers.database_url,
        redis_url=lambda: servers.redis_url,
        location=_location(catalogue.projections.get(name), settings),
        scratch=_scratch(catalogue.projections.get(name), settings),
        schema=servers.schema,
        settings=settings,
        make_producer=partial(_make_producer, settings),
    )


def place(name: str, data_dir: Path | None = None) -> Place:
    """The place of a projection, worker or clock, as the settings of this directory and environment give it.

    For commands of a domain, which so reach the servers and directories of what the domain declares.

    Raises:
        InvalidSetting: there is none of that name, or a setting cannot be used.
    """
    known = [consumer for consumer in installed().consumers if consumer != LOG]
    if name not in known:
        raise InvalidSetting(f"there is no projection, worker or clock {name!r}; there are {', '.join(known)}")
    settings = load(data_dir)
    return place_of(name, settings, servers(settings))


def make_sink(name: str, settings: Settings, servers: Servers) -> Sink:
    """The sink of a projection, or the log's."""
    if name == LOG:
        from playhead.eventlog.writer import LogWriter

        return LogWriter(settings.event_log_dir)
    who = installed().described(name)
    target = resolve(installed().projections[name].target, who)
    if isinstance(target, type):
        refuse_other(cast("type[object]", target), who)
    return sink_of(target(place_of(name, settings, servers)), who)


def sink_of(made: object, who: str = "the projection") -> Sink:
    """The sink of what a projection's target made: itself, or that of one of the bases.

    Raises:
        DomainInvalid: it is no projection.
    """
    from playhead.projections.file_projection import FileProjection, ProjectedFiles
    from playhead.projections.table_projection import ProjectedTable, TableProjection

    if isinstance(made, TableProjection):
        return ProjectedTable(made)
    if isinstance(made, FileProjection):
        return ProjectedFiles(made)
    if not isinstance(made, Sink):
        raise _no_projection(made, type(made).__name__, (*_ATTRIBUTES, *_METHODS), who)
    return made


def refuse_other(target: type[object], who: str) -> None:
    """Refuse a class that makes no projection.

    Raises:
        DomainInvalid: says what it lacks.
    """
    from playhead.projections.file_projection import FileProjection
    from playhead.projections.table_projection import TableProjection

    if isabstract(target):
        missing = ", ".join(
            name for name, member in getmembers(target) if getattr(member, "__isabstractmethod__", False)
        )
        raise DomainInvalid(f"{who} is declared as {target.__name__}, which does not define {missing}")
    of_a_base = issubclass(target, TableProjection | FileProjection)
    if not of_a_base and not all(hasattr(target, method) for method in _METHODS):
        raise _no_projection(target, target.__name__, _METHODS, who)


def _no_projection(made: object, name: str, members: Iterable[str], who: str) -> DomainInvalid:
    missing = ", ".join(member for member in members if not hasattr(made, member))
    return DomainInvalid(
        f"{who} is declared as {name}, which is no projection: make it a TableProjection or a FileProjection, or give"
        f" it what it lacks of playhead.Sink: {missing}"
    )


def make_verification(
    name: str, settings: Settings, servers: Servers
) -> "Verifiable | Foldable | FileVerification | None":
    """What `verify` compares a projection by: what it declares, or for a `FileProjection` the same files folded again.

    None if there is nothing to compare it by.
    """
    from playhead.projections.file_verification import FileVerification

    projection, place = installed().projections[name], place_of(name, settings, servers)
    if projection.verification is not None:
        return resolve(projection.verification, f"the verification of {installed().described(name)}")(place)
    made = _file_projection(projection, place)
    return None if made is None else FileVerification(made)


def default_directories(settings: Settings) -> dict[str, str]:
    """The directory of each `FileProjection` that declares no setting for it; empty if another place has that name.

    A projection that cannot be made is omitted: its process says so, and so does `playhead doctor`.
    """
    found: dict[str, str] = {}
    nowhere = Servers(None, None, settings.data_dir)
    for name, projection in installed().projections.items():
        if projection.place is None:
            place = place_of(name, settings, nowhere)
            with suppress(ServersNotRunning, DomainNotLoaded, DomainInvalid):  # a function may need its servers at once
                if _file_projection(projection, place) is not None:
                    found[name] = place.location
    return found


def make_handler(name: str, settings: Settings, servers: Servers) -> "Handler":
    """What a worker does."""
    worker, place = installed().workers[name], place_of(name, settings, servers)
    if worker.handler is not None:
        return cast("Handler", resolve(worker.handler, installed().described(name))(place))
    from playhead.consumers.work.functions import FunctionHandler

    assert worker.target is not None, "a worker has a handler or a target"
    return FunctionHandler(worker, place)


def file_source(settings: Settings) -> "FileSource | None":
    """What reads files as events; None if no installed domain does."""
    target = installed().extension("files")
    return None if target is None else cast("FileSource", resolve(target)(settings))


def make_clock(name: str, settings: Settings, servers: Servers) -> tuple[Callable[[], Any], float]:
    """What does one round of a clock, and the seconds between two."""
    clock = installed().clocks[name]
    every = clock.every if isinstance(clock.every, int | float) else settings[clock.every]
    call = resolve(clock.target, installed().described(name))(place_of(name, settings, servers))
    if not callable(call):
        raise DomainInvalid(
            f"{installed().described(name)} is declared as a function that returned {call!r}: it must return the"
            " function that does one round"
        )
    return call, every


def work_settings(name: str, settings: Settings) -> "WorkerSettings":
    """How a worker works."""
    from playhead.consumers.work.worker import WorkerSettings

    return WorkerSettings(
        hold=settings.lease_seconds,
        concurrency=settings[core.CONCURRENCY],
        max_attempts=max(settings[core.MAX_ATTEMPTS], installed().workers[name].max_attempts or 1),
    )


def _make_producer(settings: Settings, redis_url: str) -> "Producer":
    from playhead.settings.producers import make_producer

    return make_producer(redis_url, settings)


def _file_projection(projection: Projection, place: Place) -> "FileProjection | None":
    """A projection, if it is one of files: a class says so by itself, what a function makes is looked at."""
    from playhead.projections.file_projection import FileProjection

    target = resolve(projection.target, installed().described(projection.name))
    if isinstance(target, type) and not issubclass(target, FileProjection):
        return None
    made = target(place)
    if isinstance(made, FileProjection):
        return made
    sink_of(made).close()
    return None


def _location(projection: Projection | None, settings: Settings) -> str:
    """Where a projection keeps files: the setting that it declares, or else the directory of its name."""
    if projection is None:
        return ""
    if projection.place is not None:
        return str(settings[projection.place])
    taken = {*_SERVERS, *(setting.below for setting in declared().values())}
    return "" if projection.name in taken else str(settings.data_dir / projection.name)


def _scratch(projection: Projection | None, settings: Settings) -> Path | None:
    """Where files of a projection would be if they were not in a bucket: on disk, in a container too."""
    below = None if projection is None or projection.place is None else projection.place.below
    return None if below is None else settings.data_dir / below / ".scratch"


def lacking(settings: Settings) -> dict[str, str]:
    """The workers that cannot be started here, each with what it lacks."""
    found: dict[str, str] = {}
    for name, worker in installed().workers.items():
        if (
            worker.lacks is not None
            and (problem := resolve(worker.lacks, installed().described(name))(settings)) is not None
        ):
            found[name] = problem
    return found
