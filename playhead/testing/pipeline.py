"""A whole Playhead in the process of a test: a producer, consumers in threads, and what they made of the events."""

from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

import msgspec
from redis import Redis, RedisCluster

from playhead.consumers.reading.parked import Parked, ParkedEvents
from playhead.eventlog.reader import read
from playhead.projections.migrations import upgrade
from playhead.projections.postgres import connect
from playhead.settings.core import DATA_DIR, DATABASE_URL, LEASE_SECONDS, REDIS_URL, SCHEMA
from playhead.settings.producers import partition_counts
from playhead.settings.servers import Servers
from playhead.settings.settings import Settings, declared
from playhead.streams.appending.producer import Producer
from playhead.streams.domains.catalogue import LOG, Catalogue
from playhead.streams.domains.discovery import chosen
from playhead.streams.domains.domain import Domain
from playhead.streams.events import Event
from playhead.streams.positions import Position
from playhead.streams.redis.connections import RedisAddress
from playhead.streams.redis.connections import connect as connect_redis
from playhead.testing.consumers import ConsumerFailed, ConsumerThread, service_of
from playhead.testing.timeline import Timeline
from playhead.testing.waiting import PATIENCE, NotCaughtUp, caught_up, partitions_of
from playhead.wiring import lacking


class Pipeline:
    """Appends events, runs consumers, waits for them, and looks at what they keep.

    `domains` stand beside the installed ones until `close`. Whatever has no place in `settings` is below `data_dir`.
    The database gets the tables of every domain.
    """

    def __init__(
        self,
        *,
        redis_url: str,
        database_url: str | None,
        data_dir: Path,
        domains: Iterable[Domain] = (),
        settings: Mapping[str, object] | None = None,
    ) -> None:
        self._closing = ExitStack()
        self._domains = tuple(domains)
        self.catalogue: Catalogue = self._closing.enter_context(chosen(self._domains))
        try:
            self.settings = settings_below(
                data_dir,
                {REDIS_URL.name: redis_url, DATABASE_URL.name: database_url or "", LEASE_SECONDS.name: 1.0}
                | dict(settings or {}),
            )
            self.servers = Servers(redis_url, database_url, data_dir, self.settings[SCHEMA])
            if database_url is not None:
                upgrade(database_url, schema=self.servers.schema)
            self.producer = self._closing.enter_context(Producer(redis_url, partitions=self.settings.partitions))
            self.redis: Redis | RedisCluster = connect_redis(RedisAddress.parse(redis_url))
            self._closing.callback(self.redis.close)
        except BaseException:
            self._closing.close()
            raise
        self._timeline = Timeline()
        self._running: dict[str, ConsumerThread] = {}

    def append(self, *events: msgspec.Struct) -> list[Position | None]:
        """Append payloads, or whole events; a payload gets an id and a time that follow from its number."""
        return self.producer.append_events([self._timeline.event(event) for event in events])

    @contextmanager
    def running(self, *names: str) -> Generator[None, None, None]:
        """Run consumers until the block ends: those named, or the log and every one of the domains of this test.

        Raises:
            ConsumerFailed: one ended by itself.
        """
        started = {
            name: ConsumerThread(name, self.servers.redis_url, service_of(name, self.settings, self.servers))
            for name in names or self._names()
        }
        for thread in started.values():
            thread.start()
        self._running |= started
        try:
            yield
        finally:
            for name, thread in started.items():
                self._running.pop(name, None)
                thread.stop()
        for thread in started.values():
            _raise_failure(thread)

    def caught_up(self, *names: str, seconds: float = PATIENCE, parked: bool = False) -> None:
        """Wait until consumers have taken every event, also what workers append meanwhile: those named, or all running.

        Raises:
            NotCaughtUp: one did not come to the end in time; or, unless `parked`, an event was parked.
            ConsumerFailed: one of this test ended.
        """
        watched = names or tuple(self._running)

        def look() -> None:
            for name in watched:
                if name in self._running:
                    _raise_failure(self._running[name])
            if not parked:
                self._refuse_parked(watched)

        try:
            caught_up(
                self.redis,
                {name: self.catalogue.reads[name] for name in watched},
                partitions=self._counts(),
                seconds=seconds,
                look=look,
            )
        except NotCaughtUp as error:
            if not error.behind:
                raise
            raise NotCaughtUp("\n".join(self._trouble(error.behind)), error.behind) from None

    def parked(self, name: str) -> list[Parked]:
        """The parked events of a consumer."""
        partitions = partitions_of(self.catalogue.reads[name], self._counts())
        return [parked for partition in partitions for parked in ParkedEvents(self.redis, name, partition)]

    def rows(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Query the database."""
        with connect(self.servers.database_url, schema=self.servers.schema) as connection:
            return connection.execute(statement.encode(), parameters or None).fetchall()

    def events(self, *types: str) -> list[Event]:
        """Read what the event log has, of some types or of all; the consumer `log` must have run."""
        logged = (recorded.event for _, recorded in read(self.settings.event_log_dir))
        return [event for event in logged if not types or event.type in types]

    def close(self) -> None:
        """Let go of every connection."""
        self._closing.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _counts(self) -> dict[str, int]:
        return partition_counts(self.redis, self.settings).read(self.catalogue.streams)

    def _names(self) -> tuple[str, ...]:
        domains = self._domains or self.catalogue.domains
        own = {name for domain in domains for name in (*domain.projections, *domain.workers, *domain.clocks)}
        missing = lacking(self.settings)
        return (LOG, *(name for name in self.catalogue.consumers if name in own and name not in missing))

    def _refuse_parked(self, names: Iterable[str]) -> None:
        found = [f"{one.consumer} parked {one.type}: {one.reason}" for name in names for one in self.parked(name)]
        if found:
            raise NotCaughtUp("\n".join(found))

    def _trouble(self, behind: Mapping[str, str]) -> Iterator[str]:
        for name, where in behind.items():
            problems = self._running[name].problems if name in self._running else ["it does not run in this test"]
            yield f"{name}: {where}: {'; '.join(problems) or 'no problem is known'}"


def settings_below(data_dir: Path, given: Mapping[str, object]) -> Settings:
    """Make settings whose places are below a directory; text is read as that of the setting is.

    Raises:
        InvalidSetting: a text cannot be read.
    """
    values: dict[str, object] = {}
    for name, setting in declared().items():
        value = given.get(name, setting.default)
        if value == "" and setting.below is not None:
            value = str(data_dir / setting.below)
        values[name] = setting.value_of(value)
    return Settings(values | {DATA_DIR.name: data_dir}, ())


def _raise_failure(thread: ConsumerThread) -> None:
    error = thread.failure
    while isinstance(error, BaseExceptionGroup):
        error = cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
    if error is not None:
        raise ConsumerFailed(f"{thread.name} ended: {type(error).__name__}: {error}") from thread.failure
