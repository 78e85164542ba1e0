"""Partitions: which one a subject belongs to."""

import zlib

import msgspec

from playhead.streams.names import partition_key

MOST_PARTITIONS = 4096
"""The most that a stream can have."""


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


def partition_named(text: str) -> Partition | None:
    """The partition that a text such as `jobs/0` names, None if it names none."""
    stream, _, number = text.rpartition("/")
    return Partition(stream, int(number)) if stream and number.isascii() and number.isdecimal() else None


def partition_of(stream: str, subject: str, partitions: int) -> Partition:
    """The partition of a subject: CRC-32 (ISO-HDLC) of its UTF-8 bytes, modulo the number of partitions."""
    return Partition(stream, zlib.crc32(subject.encode()) % partitions if partitions > 1 else 0)
