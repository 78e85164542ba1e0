"""What adapters recorded, read from the stream of jobs."""

import json

from playhead.streams.entries import RawEntry, decode
from playhead.streams.partitions import Partition
from tests.support.servers import plain_client

JOBS = Partition("jobs", 0)


def recorded(server, partition=JOBS):
    """The events of a partition, in order."""
    with plain_client(server.url) as client:
        entries = client.xrange(partition.key)
    return [decode(RawEntry(key, [part for pair in fields.items() for part in pair])).event for key, fields in entries]


def payloads(server):
    """The payload of each job's outcome, by job id; a job with two outcomes is an error."""
    found = [json.loads(event.data) for event in recorded(server)]
    by_job = {payload["job_id"]: payload for payload in found}
    assert len(found) == len(by_job), f"a job is recorded twice: {found}"
    return by_job
