"""Content above a size, kept once each by its SHA-256: `<first two hex digits>/<sha256>.zst`."""

import hashlib
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

import zstandard

from playhead.streams.errors import BlobAltered, BlobMissing, EventTooLarge, InvalidEvent
from playhead.streams.storage.claims import Blob
from playhead.streams.storage.objects import Objects

CONTENT_LIMIT = 1024 * 1024 * 1024
"""Bytes that a content may have at all; it is handled in memory."""

_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_LEVEL = 3
_PART = 1024 * 1024
_WINDOW_LIMIT = 128 * 1024 * 1024


class Blobs:
    """A content-addressed store in a directory or below an `s3://` URL; safe to share between threads.

    Raises:
        InvalidSetting: the location has another form.
    """

    def __init__(self, location: Path | str) -> None:
        self.objects = Objects(location)

    def put(self, content: bytes) -> Blob:
        """Keep a content, durably when this returns; one that is there already is not written again.

        Raises:
            EventTooLarge: it is over the limit.
            StoreUnavailable: the store did not take it; again is safe.
        """
        if len(content) > CONTENT_LIMIT:
            raise EventTooLarge("content", f"{len(content)} bytes is over the limit of {CONTENT_LIMIT}")
        sha256 = hashlib.sha256(content).hexdigest()
        name = blob_name(sha256)
        if self.objects.size(name) is None:
            compressor = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True, write_content_size=True)
            self.objects.put(name, compressor.compress(content))
        return Blob(sha256, len(content), self.objects.url(name))

    def get(self, sha256: str, size: int) -> bytes:
        """The content with this hash, checked.

        Raises:
            InvalidEvent: that is no hash, or a size over the limit.
            BlobMissing: it is not there.
            BlobAltered: what is there is something else.
            StoreUnavailable: the store cannot be asked.
        """
        content = io.BytesIO()
        for part in self._read(sha256, size):
            content.write(part)
        return content.getvalue()

    def check(self, sha256: str, size: int) -> None:
        """Read a content in parts, and check it.

        Raises:
            InvalidEvent: that is no hash, or a size over the limit.
            BlobMissing: it is not there.
            BlobAltered: what is there is something else.
            StoreUnavailable: the store cannot be asked.
        """
        for _ in self._read(sha256, size):
            pass

    def _read(self, sha256: str, size: int) -> Iterator[bytes]:
        """The content in parts; of what is larger than it ought to be, no more than that is unpacked."""
        name = self._name(sha256, size)
        place = self.objects.url(name)
        if (parts := self.objects.parts(name)) is None:
            raise BlobMissing(sha256, place)
        digest, length = hashlib.sha256(), 0
        unpack = zstandard.ZstdDecompressor(max_window_size=_WINDOW_LIMIT)
        try:
            with unpack.stream_reader(cast("IO[bytes]", _Parts(parts))) as reader:
                while part := reader.read(min(_PART, size - length + 1)):
                    length += len(part)
                    if length > size:
                        raise BlobAltered(sha256, place, "it holds something else")
                    digest.update(part)
                    yield part
        except zstandard.ZstdError as error:
            raise BlobAltered(sha256, place, str(error)) from error
        if length != size or digest.hexdigest() != sha256:
            raise BlobAltered(sha256, place, "it holds something else")

    def _name(self, sha256: str, size: int) -> str:
        if not _SHA256.fullmatch(sha256):
            raise InvalidEvent("content.sha256", "is not 64 hex digits")
        if not 0 <= size <= CONTENT_LIMIT:
            raise InvalidEvent("content.size", f"{size} is not a number of bytes up to {CONTENT_LIMIT}")
        return blob_name(sha256)


class _Parts:
    """Parts of an object as a file to read, which is all that the decompressor needs."""

    def __init__(self, parts: Iterator[bytes]) -> None:
        self._parts = parts
        self._rest = memoryview(b"")

    def read(self, size: int) -> bytes:
        """At most so many bytes; none at the end."""
        while not self._rest:
            if (part := next(self._parts, None)) is None:
                return b""
            self._rest = memoryview(part)
        given, self._rest = self._rest[:size], self._rest[size:]
        return bytes(given)


def blob_name(sha256: str) -> str:
    """The name of a blob's object."""
    return f"{sha256[:2]}/{sha256}.zst"
