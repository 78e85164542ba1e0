"""Places of projections and workers, as a test needs them."""

from playhead.streams.appending.producer import Producer
from playhead.streams.domains.discovery import installed
from playhead.streams.domains.place import Place
from playhead.streams.domains.settings import GivenValues
from playhead.streams.names import SCHEMA


def place_of(name, database_url="", redis_url="", location="", schema=SCHEMA, settings=None):
    """The place of a consumer of an installed domain."""
    return Place(
        name,
        catalogue=installed(),
        database_url=database_url,
        redis_url=redis_url,
        location=str(location),
        schema=schema,
        settings=GivenValues(settings),
        make_producer=lambda url: Producer(url, allow_insecure=True),
    )
