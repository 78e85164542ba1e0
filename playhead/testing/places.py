"""Places of projections and workers of a test, and the catalogue of its domains."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from playhead.streams.appending.producer import Producer
from playhead.streams.domains.catalogue import Catalogue
from playhead.streams.domains.discovery import installed
from playhead.streams.domains.domain import Domain
from playhead.streams.domains.place import Address, Place
from playhead.streams.domains.settings import GivenValues
from playhead.streams.names import SCHEMA


def place_of(
    domain: Domain,
    name: str,
    *,
    database_url: Address = "",
    redis_url: Address = "",
    location: Path | str = "",
    schema: str = SCHEMA,
    settings: Mapping[str, object] | None = None,
) -> Place:
    """Make the place of a projection or worker of a domain; a setting that is not given has its default."""
    return Place(
        name,
        catalogue=catalogue_of([domain]),
        database_url=database_url,
        redis_url=redis_url,
        location=str(location),
        schema=schema,
        settings=GivenValues(settings),
        make_producer=lambda url: Producer(url, allow_insecure=True),
    )


def catalogue_of(domains: Iterable[Domain]) -> Catalogue:
    """Make the catalogue of some domains and of the installed ones that they require."""
    found = {domain.name: domain for domain in domains}
    here = {domain.name: domain for domain in installed().domains}
    waiting = list(found.values())
    while waiting:
        for name in waiting.pop().requires:
            if name not in found and name in here:
                found[name] = here[name]
                waiting.append(here[name])
    return Catalogue(found.values())
