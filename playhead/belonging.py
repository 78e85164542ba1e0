"""What belongs to this installation: the places of each consumer, and those of all."""

from collections.abc import Callable, Iterator
from contextlib import closing, suppress

from redis import Redis, RedisCluster

from playhead.eventlog.reader import partitions
from playhead.projections.installation import DatabaseMark
from playhead.projections.table_sink import TableSink
from playhead.settings.core import EVENT_LOG_DIR
from playhead.settings.errors import ServersNotRunning
from playhead.settings.producers import partition_counts
from playhead.settings.servers import Servers
from playhead.settings.settings import Settings, declared
from playhead.streams.domains.catalogue import LOG
from playhead.streams.domains.discovery import installed
from playhead.streams.errors import LogElsewhere
from playhead.streams.installation import Mark, PlaceMark, RedisMark, claim
from playhead.streams.positions import START
from playhead.streams.redis.connections import connect
from playhead.streams.redis.stream_info import group_position
from playhead.streams.sinks import Sink
from playhead.wiring import place_of

Claim = Callable[[], bool]
"""Has the places of a process carry the id of the installation; False if nobody has made one yet."""


def claim_of(name: str, settings: Settings, reached: Servers, sink: Sink | None = None) -> Claim:
    """What compares the places of a consumer with its Redis, whenever it begins to serve."""

    def claim_places() -> bool:
        own: list[Mark] = _own(name, settings, reached)
        if isinstance(sink, TableSink):
            own.append(DatabaseMark(reached.database_url))
        titles = {place.title for place in own}
        beside = [place for place in _beside(settings) if place.title not in titles]
        with closing(connect(reached.redis_url, settings.redis_timeout)) as client:
            if name == LOG and log_mark(settings).read() is None:
                _refuse_elsewhere(client, settings)
            return claim(RedisMark(client), own, beside, makes=name == LOG) is not None

    return claim_places


def log_mark(settings: Settings) -> PlaceMark:
    """The mark of the event log."""
    return PlaceMark(EVENT_LOG_DIR.name, settings.event_log_dir)


def every_place(settings: Settings, reached: Servers) -> Iterator[Mark]:
    """Every place that settings name, the log first; directories that are not there are left out."""
    yield log_mark(settings)
    yield from (place for place in _places(settings) if place.directory is None or place.directory.is_dir())
    for name, projection in installed().projections.items():
        if projection.place is None:  # then it has a directory of its name, if it writes files
            yield from _own(name, settings, reached)
    with suppress(ServersNotRunning):
        yield DatabaseMark(reached.database_url)


def _own(name: str, settings: Settings, reached: Servers) -> "list[Mark]":
    """The places that a consumer writes."""
    if name == LOG:
        return [log_mark(settings)]
    projection = installed().projections.get(name)
    location = "" if projection is None else place_of(name, settings, reached).location
    if projection is None or not location:
        return []
    return [PlaceMark(name if projection.place is None else projection.place.name, location)]


def _beside(settings: Settings) -> Iterator[PlaceMark]:
    """The directories that are there; that of the log only if it is one, for nobody but its writer marks it."""
    log = log_mark(settings)
    if log.read() is not None:
        yield log
    yield from (place for place in _places(settings) if place.directory is not None and place.directory.is_dir())


def _places(settings: Settings) -> Iterator[PlaceMark]:
    """Those of all settings but the log's."""
    for setting in declared().values():
        if setting.below is not None and setting is not EVENT_LOG_DIR:
            yield PlaceMark(setting.name, str(settings[setting]))


def _refuse_elsewhere(client: "Redis | RedisCluster", settings: Settings) -> None:
    """Refuse an empty directory of the log, if there has been a log: it is elsewhere, or it is lost.

    Raises:
        LogElsewhere: says where it was looked for.
    """
    if settings.event_log_dir.is_dir() and any(partitions(settings.event_log_dir)):
        return
    for partition in partition_counts(client, settings).every(installed().streams):
        written = group_position(client, partition, LOG)
        if written > START:
            raise LogElsewhere(
                f"{settings.event_log_dir} has no event log, but {partition} was logged up to {written}:"
                f" {LogElsewhere.__doc__}"
            )
