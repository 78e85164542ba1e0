"""The place of a projection or worker: what it reads, where it writes, and its settings.

Code gets its place and never names it, so that a second generation can be built beside the live one.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from playhead.streams.domains.settings import GivenValues, SettingValues
from playhead.streams.events import Event
from playhead.streams.names import SCHEMA
from playhead.streams.positions import Position

if TYPE_CHECKING:
    from playhead.streams.domains.catalogue import Catalogue

Address = str | Callable[[], str]
"""A URL, or what gives it when it is asked for, and says what to do if there is none."""


class Appends(Protocol):
    """A producer, as far as a process of a domain needs it."""

    def append_events(self, events: Iterable[Event]) -> list[Position | None]:
        """Append a batch, and return positions in the order of the events."""
        ...

    def close(self) -> None:
        """Close the connections."""
        ...


class Place:
    """Where a projection, a worker or a clock works.

    `location` is a directory or an `s3://` URL; `schema` the schema of its tables in Postgres; `scratch` a directory of
    this machine for files that end with the process, which need not be there yet, or None.
    """

    def __init__(
        self,
        name: str,
        *,
        catalogue: "Catalogue",
        database_url: Address = "",
        redis_url: Address = "",
        location: str = "",
        scratch: Path | None = None,
        schema: str = SCHEMA,
        settings: SettingValues | None = None,
        make_producer: Callable[[str], Appends] | None = None,
    ) -> None:
        self.name = name
        self.catalogue = catalogue
        self.location = location
        self.scratch = scratch
        self.schema = schema
        self.settings: SettingValues = GivenValues() if settings is None else settings
        self._database_url, self._redis_url = database_url, redis_url
        self._make_producer = make_producer

    @property
    def streams(self) -> tuple[str, ...]:
        """The streams that it reads."""
        return self.catalogue.reads[self.name]

    @property
    def types(self) -> frozenset[str]:
        """The event types that it reads."""
        return self.catalogue.kinds[self.name]

    @property
    def database_url(self) -> str:
        """The URL of Postgres."""
        return self._database_url if isinstance(self._database_url, str) else self._database_url()

    @property
    def redis_url(self) -> str:
        """The URL of Redis."""
        return self._redis_url if isinstance(self._redis_url, str) else self._redis_url()

    def producer(self) -> Appends:
        """Make a producer for this Redis, with every setting that producers have; close it when you are done.

        Raises:
            SpoolFailed: the spool directory cannot be used.
        """
        assert self._make_producer is not None, "who makes the place of a process says how"
        return self._make_producer(self.redis_url)
