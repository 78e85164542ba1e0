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
from playhead.streams.sinks import OnDisk, Sink
from playhead.streams.storage.trust import refuse_untrusted
from playhead.wiring import default_directories, place_of

Claim = Callable[[], bool]
"""Has the places of a process carry the id of the installation; False if nobody has made one yet."""


def claim_of(name: str, settings: Settings, reached: Servers, sink: Sink | None = None) -> Claim:
    """What compares the places of a consumer with its Redis, whenever it begins to serve.

    Raises:
        Untrusted: a directory that it writes is another user's, or every user may write to it.
    """
    written: list[Mark] = [log_mark(settings)] if name == LOG else list(_own(name, settings, reached, sink))
    for place in written:
        if isinstance(place, PlaceMark) and place.directory is not None:
            refuse_untrusted(place.directory)

    def claim_places() -> bool:
        own: list[Mark] = [log_mark(settings)] if name == LOG else list(_own(name, settings, reached, sink))
        titles = {place.title for place in own}
        beside = [place for place in _beside(settings) if place.title not in titles]
        with closing(connect(reached.redis_url, settings.redis_timeout)) as client:
            if name == LOG and (elsewhere := find_log_elsewhere(client, settings)) is not None:
                raise elsewhere
            return claim(RedisMark(client), own, beside, makes=name == LOG) is not None

    return claim_places


def log_mark(settings: Settings) -> PlaceMark:
    """The mark of the event log."""
    return PlaceMark(EVENT_LOG_DIR.name, settings.event_log_dir)


def every_place(settings: Settings, reached: Servers) -> Iterator[Mark]:
    """Every place that settings name, the log first; directories that are not there are left out."""
    yield log_mark(settings)
    named = [*_places(settings), *(PlaceMark(*one) for one in default_directories(settings).items() if one[1])]
    yield from (place for place in named if place.directory is None or place.directory.is_dir())
    with suppress(ServersNotRunning):
        yield DatabaseMark(reached.database_url, reached.schema)


def find_log_elsewhere(client: "Redis | RedisCluster", settings: Settings) -> LogElsewhere | None:
    """Why this process has no log although there has been one, None if it has, or there was none."""
    if log_mark(settings).read() is not None or _has_log(settings):
        return None
    for partition in partition_counts(client, settings).every(installed().streams):
        written = group_position(client, partition, LOG)
        if written > START:
            return LogElsewhere(
                f"{settings.event_log_dir} has no event log, but {partition} was logged up to {written}:"
                f" {LogElsewhere.__doc__}"
            )
    return None


def _has_log(settings: Settings) -> bool:
    return settings.event_log_dir.is_dir() and any(partitions(settings.event_log_dir))


def _own(name: str, settings: Settings, reached: Servers, sink: Sink | None) -> Iterator[Mark]:
    """The places that a projection writes."""
    if isinstance(sink, TableSink):
        yield DatabaseMark(reached.database_url, reached.schema)
    projection = installed().projections.get(name)
    if projection is not None and (projection.place is not None or isinstance(sink, OnDisk)):
        location = place_of(name, settings, reached).location
        if location:
            yield PlaceMark(name if projection.place is None else projection.place.name, location)


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
