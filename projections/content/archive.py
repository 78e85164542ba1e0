"""The bytes of an archive: two members in a tar, gzipped, the same for the same event on every machine.

libdeflate chooses the same matches on every processor, which zlib-ng and ISA-L do not; its version is pinned, as
another one may choose differently (docs/decisions/0006-archives.md).
"""

import hashlib
import io
import re
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import cast

import deflate
import msgspec

from playhead.projections.content.captured import Captured
from playhead.projections.content.errors import ArchiveAltered
from playhead.projections.content.levels import DEFAULT_LEVEL
from playhead.projections.encoding import decode, encode, indent
from playhead.streams.errors import InvalidEvent
from playhead.streams.events import Event, parse_date_or_time
from playhead.streams.storage.blobs import CONTENT_LIMIT
from playhead.streams.storage.filenames import decode_name, encode_name

CONTENT, METADATA = "content.txt", "metadata.json"
SUFFIX = ".tar.gz"
UNKNOWN = "unknown"
_NAME = re.compile(r"(\d{8}_\d{6})_(.+)\.[0-9a-f]{12}\.tar\.gz", re.ASCII)
_STAMP, _STAMP_LENGTH = "%Y%m%d_%H%M%S", len("20250809_063658")
_GZIP = 31
_BLOCK = 512
_PART = 1024 * 1024
METADATA_LIMIT = 256 * 1024 * 1024
"""Bytes that the metadata of an archive may have if nothing is known of its event."""
_CUT = "it was cut, or something follows it"
_compress = cast(
    "Callable[[bytes, int], bytearray]",
    deflate.gzip_compress,  # pyright: ignore[reportUnknownMemberType]  # its stub needs Python 3.12
)
_MODE = 0o644


class Archive(msgspec.Struct, frozen=True):
    """What an archive holds, and the name that follows from it."""

    name: str
    content: bytes
    metadata: dict[str, object]


class Named(msgspec.Struct, frozen=True, order=True):
    """What the name of an archive tells; the scraper is None if its id is too long for a name."""

    moment: datetime
    scraper_id: str | None


def archive_name(event_id: str, captured: Captured) -> str:
    """`<YYYYMMDD_HHMMSS>_<scraper>.<12 digits of the event>.tar.gz`, in UTC.

    A name follows from its event alone, so it is the same whichever captures of that second are there, or come later.
    """
    return _name(event_id, captured.moment, captured.scraper_id)


def parse_name(name: str) -> Named | None:
    """Read a name; None if it is not one of ours."""
    parts = _NAME.fullmatch(name)
    if parts is None:
        return None
    try:
        moment = datetime.strptime(parts[1], _STAMP).replace(tzinfo=UTC)
    except ValueError:
        return None
    try:
        return Named(moment, decode_name(parts[2]))
    except ValueError:
        return Named(moment, None)


def make_archive(event: Event, captured: Captured, content: bytes, level: int = DEFAULT_LEVEL) -> bytes | bytearray:
    """Pack a content and all that is known of it."""
    members = _member(CONTENT, content) + _member(METADATA, describe(event, captured, content))
    return _compress(b"".join((*members, bytes(2 * _BLOCK))), level)


def describe(event: Event, captured: Captured, content: bytes) -> bytes:
    """The metadata.json of a capture: what we know of it, and every member of its payload but the content."""
    about: dict[str, object] = {
        "event_id": event.id,
        "event_time": event.time,
        "source_url": None,
        "scraper_id": None,
        "captured_at": None,
        "sha256": hashlib.sha256(content).hexdigest(),
        "size": len(content),
        "encoding": "utf-8" if _is_text(content) else "binary",
        "metadata": {},
    }
    ours = {name for name, value in about.items() if value is not None and name != "metadata"}
    passed = {name: bytes(value) for name, value in captured.members.items() if name not in ours}
    written = {name: encode(value) for name, value in about.items()} | passed
    return indent(b"{" + b",".join(encode(name) + b":" + value for name, value in written.items()) + b"}")


def read_archive(
    data: bytes | Iterable[bytes], *, limit: int = CONTENT_LIMIT, metadata_limit: int = METADATA_LIMIT
) -> Archive:
    """Unpack an archive, whole or in parts, and check its content against the hash in its metadata.

    The limits are how many bytes content and metadata may have; of a larger one nothing is unpacked.

    Raises:
        ArchiveAltered: says what is wrong with it.
    """
    content = io.BytesIO()
    metadata = _read(data, limit, metadata_limit, content.write)
    return Archive(_named(metadata), content.getvalue(), metadata)


def check_archive(data: bytes | Iterable[bytes]) -> Archive:
    """Check an archive like `read_archive`, in bounded memory: its content is not kept.

    Raises:
        ArchiveAltered: says what is wrong with it.
    """
    metadata = _read(data, CONTENT_LIMIT, METADATA_LIMIT, len)
    return Archive(_named(metadata), b"", metadata)


def _name(event_id: str, moment: datetime, scraper_id: str | None) -> str:
    stamp = moment.astimezone(UTC).strftime(_STAMP).rjust(_STAMP_LENGTH, "0")
    digits = hashlib.sha256(event_id.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return f"{stamp}_{encode_name(scraper_id or UNKNOWN)}.{digits}{SUFFIX}"


def _named(metadata: dict[str, object]) -> str:
    event_id, captured_at, event_time, scraper_id = (
        value if isinstance(value := metadata.get(member), str) else ""
        for member in ("event_id", "captured_at", "event_time", "scraper_id")
    )
    for text in (captured_at, event_time):
        with suppress(InvalidEvent):
            return _name(event_id, parse_date_or_time(text), scraper_id)
    raise ArchiveAltered(f"its {METADATA} has no time")


def _member(name: str, content: bytes) -> tuple[bytes, bytes, bytes]:
    about = tarfile.TarInfo(name)
    about.size = len(content)
    about.mode = _MODE
    return about.tobuf(tarfile.USTAR_FORMAT), content, bytes(-len(content) % _BLOCK)


def _read(
    data: bytes | Iterable[bytes], limit: int, metadata_limit: int, keep: Callable[[bytes], object]
) -> dict[str, object]:
    """The metadata, checked against the content, which `keep` is given in parts.

    Only what `make_archive` writes is read: no link, no sparse file, and no header that makes another one larger.
    """
    tar = _Tar(iter((data,) if isinstance(data, bytes) else data))
    digest = hashlib.sha256()
    encoded = io.BytesIO()
    try:
        for part in tar.member(CONTENT, limit):
            digest.update(part)
            keep(part)
        for part in tar.member(METADATA, metadata_limit):
            encoded.write(part)
        tar.end()
    except (tarfile.TarError, zlib.error) as error:
        raise ArchiveAltered(f"it cannot be unpacked: {error}") from error
    try:
        metadata = decode(encoded.getvalue(), dict[str, object])
    except (ValueError, RecursionError) as error:
        raise ArchiveAltered(f"its {METADATA} is not a JSON object") from error
    if metadata.get("sha256") != digest.hexdigest():
        raise ArchiveAltered("its content does not have the SHA-256 of its metadata")
    return metadata


class _Tar:
    """A gzipped tar, unpacked as far as it is read."""

    def __init__(self, packed: Iterator[bytes]) -> None:
        self._packed = packed
        self._unzip = zlib.decompressobj(_GZIP)
        self._waiting = b""

    def member(self, name: str, limit: int) -> Iterator[bytes]:
        """The parts of the next member, which is this one."""
        about = tarfile.TarInfo.frombuf(self._exactly(_BLOCK), "utf-8", "surrogateescape")
        if about.name != name or about.type != tarfile.REGTYPE:
            raise ArchiveAltered(f"its members are not {CONTENT} and {METADATA}")
        if not 0 <= about.size <= limit:
            raise ArchiveAltered(f"its {name} has {about.size} bytes, which is over the limit of {limit}")
        for start in range(0, about.size, _PART):
            yield self._exactly(min(_PART, about.size - start))
        self._exactly(-about.size % _BLOCK)

    def end(self) -> None:
        """Read the end of the tar and of gzip, with its checksum; nothing may follow."""
        if any(self._exactly(2 * _BLOCK)) or self._some(1) or not self._unzip.eof:
            raise ArchiveAltered(_CUT)
        if self._unzip.unused_data or next(self._packed, b""):
            raise ArchiveAltered(_CUT)

    def _exactly(self, size: int) -> bytes:
        parts: list[bytes] = []
        while size:
            if not (part := self._some(size)):
                raise ArchiveAltered(_CUT)
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def _some(self, size: int) -> bytes:
        """At most so many bytes; none at the end."""
        while not self._unzip.eof:
            packed = self._waiting or next(self._packed, b"")
            unpacked = self._unzip.decompress(packed, size)
            self._waiting = self._unzip.unconsumed_tail
            if unpacked or not packed:
                return unpacked
        return b""


def _is_text(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True
