"""Content above a size, kept once each by its SHA-256: `<first two hex digits>/<sha256>.zst`."""

import hashlib
import io
import re
from pathlib import Path

import zstandard

from playhead.streams.errors import BlobAltered, BlobMissing, EventTooLarge, InvalidEvent
from playhead.streams.storage.claims import Blob
from playhead.streams.storage.objects import Objects

CONTENT_LIMIT = 1024 * 1024 * 1024
"""Bytes that a content may have at all; it is handled in memory."""

_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_LEVEL = 3
_PACKED_PART = 4096
"""Bytes unpacked at once; a bomb of so many gives some 80 MB at most."""


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
        name = self._name(sha256, size)
        stored = self.objects.get(name)
        place = self.objects.url(name)
        if stored is None:
            raise BlobMissing(sha256, place)
        try:
            with zstandard.ZstdDecompressor().stream_reader(io.BytesIO(stored)) as reader:
                content = reader.read(size + 1)
        except zstandard.ZstdError as error:
            raise BlobAltered(sha256, place, str(error)) from error
        if len(content) != size or hashlib.sha256(content).hexdigest() != sha256:
            raise BlobAltered(sha256, place, "it holds something else")
        return content

    def check(self, sha256: str, size: int) -> None:
        """Read a content in parts, and check it.

        Raises:
            InvalidEvent: that is no hash, or a size over the limit.
            BlobMissing: it is not there.
            BlobAltered: what is there is something else.
            StoreUnavailable: the store cannot be asked.
        """
        name = self._name(sha256, size)
        place = self.objects.url(name)
        if (parts := self.objects.parts(name)) is None:
            raise BlobMissing(sha256, place)
        digest, length = hashlib.sha256(), 0
        unpack = zstandard.ZstdDecompressor().decompressobj()
        try:
            for part in parts:
                for start in range(0, len(part), _PACKED_PART):
                    content = unpack.decompress(part[start : start + _PACKED_PART])
                    digest.update(content)
                    length += len(content)
                    if length > size:
                        raise BlobAltered(sha256, place, "it holds something else")
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


def blob_name(sha256: str) -> str:
    """The name of a blob's object."""
    return f"{sha256[:2]}/{sha256}.zst"
