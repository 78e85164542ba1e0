"""The bytes of an archive: two members in a tar, gzipped, the same for the same event on every machine.

libdeflate chooses the same matches on every processor, which zlib-ng and ISA-L do not; its version is pinned, as
another one may choose differently (docs/decisions/0006-archives.md).
"""

import hashlib
import io
import re
import tarfile
import zlib
from collections.abc import Callable
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
_UNPACKED_LIMIT = 2 * CONTENT_LIMIT
_BLOCK = 512
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


def read_archive(data: bytes) -> Archive:
    """Unpack an archive, and check its content against the hash in its metadata.

    Raises:
        ArchiveAltered: says what is wrong with it.
    """
    try:
        with tarfile.open(fileobj=io.BytesIO(_unpacked(data)), mode="r:") as tar:
            found = {member.name: _read(tar, member) for member in tar}
    except (tarfile.TarError, zlib.error) as error:
        raise ArchiveAltered(f"it cannot be unpacked: {error}") from error
    if found.keys() != {CONTENT, METADATA}:
        raise ArchiveAltered(f"its members are not {CONTENT} and {METADATA}")
    try:
        metadata = decode(found[METADATA], dict[str, object])
    except ValueError as error:
        raise ArchiveAltered(f"its {METADATA} is not a JSON object") from error
    if metadata.get("sha256") != hashlib.sha256(found[CONTENT]).hexdigest():
        raise ArchiveAltered("its content does not have the SHA-256 of its metadata")
    return Archive(_named(metadata), found[CONTENT], metadata)


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


def _unpacked(data: bytes) -> bytes:
    """The whole tar: gzip's checksum stands at the very end, which tarfile does not read."""
    unzip = zlib.decompressobj(_GZIP)
    unpacked = unzip.decompress(data, _UNPACKED_LIMIT)
    if not unzip.eof or unzip.unused_data:
        raise ArchiveAltered("it was cut, or something follows it, or it is larger than any archive")
    return unpacked


def _read(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member) if member.isreg() else None
    if file is None:
        raise ArchiveAltered(f"{member.name} is no file")
    return file.read()


def _is_text(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True
