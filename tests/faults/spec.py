"""What a test of faults wants of a process."""

import msgspec

CONSUMERS = "tests.faults.consumer_process"
"""The module that forked processes run."""


class Spec(msgspec.Struct, frozen=True, kw_only=True):
    """A consumer process: its sink, the servers, and what shall happen to it at which point."""

    sink: str
    redis: str
    database: str
    directory: str
    partitions: int = 1
    lease: float = 0.3
    batch: int = 5
    max_deliveries: int = 1_000_000
    control: str | None = None
    failpoint: str | None = None
    """As `playhead.streams.failpoints` reads it from the environment."""
    segment_bytes: int = 64 * 1024 * 1024
    poison: str | None = None
    recovering: bool = False
    """Whether projections can read the event log, and the log is compared with the stream, as `playhead run` does."""
    meeting: str = ""
    settings: dict[str, str] = {}
    """Of a domain that is no part of Playhead."""
