"""The producer of commands, and of processes that domains declare; and the number of partitions of each stream."""

from contextlib import closing, suppress
from functools import partial
from typing import TYPE_CHECKING

from redis import Redis, RedisCluster

from playhead.eventlog.segments import partition_count
from playhead.settings.settings import Settings
from playhead.streams.domains.discovery import installed
from playhead.streams.errors import RedisUnavailable
from playhead.streams.redis.connections import connect
from playhead.streams.redis.partition_counts import PartitionCounts

if TYPE_CHECKING:
    from playhead.streams.appending.producer import Producer


def make_producer(redis: "str | Redis | RedisCluster", settings: Settings) -> "Producer":
    """Make a producer with every setting that producers have."""
    from playhead.streams.appending.producer import Producer

    producer = Producer(
        redis,
        partitions=settings.partitions,
        spool=settings.spool_dir,
        blobs=settings.blob_dir,
        timeout=settings.redis_timeout,
        allow_insecure=True,  # the settings hold to the rule, or allow what is not
    )
    producer.counts.logged = partial(partition_count, settings.event_log_dir)
    return producer


def partition_counts(client: "Redis | RedisCluster", settings: Settings) -> PartitionCounts:
    """The number of partitions of each stream, as it is recorded, or as the log or the settings say."""
    return PartitionCounts(lambda: client, settings.partitions, logged=partial(partition_count, settings.event_log_dir))


def refuse_other_partitions(redis_url: str, settings: Settings) -> None:
    """Refuse a number of partitions that is set and differs from that of a stream, if Redis can be asked.

    Raises:
        PartitionsChanged: with both numbers.
    """
    with suppress(RedisUnavailable), closing(connect(redis_url, settings.redis_timeout)) as client:
        partition_counts(client, settings).read(installed().streams)
