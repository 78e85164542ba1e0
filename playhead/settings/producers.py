"""The producer of commands, and of processes that domains declare."""

from playhead.settings.settings import Settings
from playhead.streams.appending.producer import Producer


def make_producer(redis_url: str, settings: Settings) -> Producer:
    """Make a producer with every setting that producers have."""
    return Producer(
        redis_url,
        partitions=settings.partitions,
        spool=settings.spool_dir,
        blobs=settings.blob_dir,
        timeout=settings.redis_timeout,
        allow_insecure=True,  # the settings hold to the rule, or allow what is not
    )
