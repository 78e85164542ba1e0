"""The place of a projection or worker: what it reads, where it writes, and its settings.

Code gets its place and never names it, so that a second generation can be built beside the live one.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from playhead.streams.domains.settings import GivenValues, SettingValues

if TYPE_CHECKING:
    from playhead.streams.domains.catalogue import Catalogue

Address = str | Callable[[], str]
"""A URL, or what gives it when it is asked for, and says what to do if there is none."""


class Place:
    """Where a projection, a worker or a clock works.

    `location` is a directory or an `s3://` URL; `schema` a schema of the database, None for the one of the connection.
    """

    def __init__(
        self,
        name: str,
        *,
        catalogue: "Catalogue",
        database_url: Address = "",
        redis_url: Address = "",
        location: str = "",
        schema: str | None = None,
        settings: SettingValues | None = None,
    ) -> None:
        self.name = name
        self.catalogue = catalogue
        self.location = location
        self.schema = schema
        self.settings: SettingValues = GivenValues() if settings is None else settings
        self._database_url, self._redis_url = database_url, redis_url

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
