"""Partitions: which one a subject belongs to, and the catalogue of streams."""

import zlib

import msgspec

from playhead.streams.names import partition_key

CATALOGUE: dict[str, frozenset[str]] = {
    "jobs": frozenset({"job.completed", "job.failed"}),
    "content": frozenset({"content.captured"}),
    "recordings": frozenset(
        {
            "meeting.started",
            "meeting.stopped",
            "chunk.flushed",
            "transcode.started",
            "transcode.finished",
            "transcode.failed",
            "chunk.cleaned",
            "chunk.expired",
            "recording.promoted",
            "recording.promotion_failed",
        }
    ),
    "notes": frozenset({"note.submitted", "note.enrichment_started", "note.enriched", "note.enrichment_failed"}),
    "documents": frozenset(
        {
            "crawl.completed",
            "document.saved",
            "document.processed",
            "document.failed",
            "processing.requested",
            "processing.started",
            "processing.completed",
            "processing.failed",
            "processing.cancelled",
        }
    ),
}
"""The event types of each stream."""

_STREAM_OF = {type_: stream for stream, types in CATALOGUE.items() for type_ in types}


class Partition(msgspec.Struct, frozen=True, order=True):
    """One Redis Stream key of a stream."""

    stream: str
    number: int

    @property
    def key(self) -> str:
        """The key of its Redis Stream."""
        return partition_key(self.stream, self.number)

    def __str__(self) -> str:
        return f"{self.stream}/{self.number}"


def stream_of(type_: str) -> str:
    """The stream an event type belongs to; one that is not in the catalogue goes to `jobs`."""
    return _STREAM_OF.get(type_, "jobs")


def partition_of(stream: str, subject: str, partitions: int) -> Partition:
    """The partition of a subject: CRC-32 (ISO-HDLC) of its UTF-8 bytes, modulo the number of partitions."""
    return Partition(stream, zlib.crc32(subject.encode()) % partitions if partitions > 1 else 0)
