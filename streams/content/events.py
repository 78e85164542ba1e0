"""Scraped content as an event: `content.captured`."""

import base64
import hashlib
from datetime import datetime
from typing import TYPE_CHECKING, Literal

import msgspec

from playhead.streams.domains.event_types import Stream
from playhead.streams.errors import InvalidEvent, InvalidSetting
from playhead.streams.events import Event, encode_data, new_event
from playhead.streams.names import ProducerVariable
from playhead.streams.storage.claims import INLINE_LIMIT, Blob

if TYPE_CHECKING:
    from playhead.streams.storage.blobs import Blobs

CAPTURED = "content.captured"
stream = Stream("content")


def _subject_of(capture: "Capture") -> str:
    if isinstance(capture.content, Blob):
        return f"content/{capture.content.sha256}"
    raw = base64.b64decode(capture.content) if capture.encoding == "base64" else capture.content.encode()
    return f"content/{hashlib.sha256(raw).hexdigest()}"


@stream.event(CAPTURED, subject=_subject_of)
class Capture(msgspec.Struct, frozen=True, kw_only=True):
    """The payload of `content.captured`.

    `content` is the text; or base64 if `encoding` says so, as the bytes are not UTF-8; or, above 256 KiB, a claim
    check. `captured_at` is RFC 3339 in UTC.
    """

    content: str | Blob
    encoding: Literal["base64"] | None = None
    source_url: str | None = None
    scraper_id: str | None = None
    metadata: dict[str, object] = {}
    captured_at: str | None = None


def capture_event(
    content: str | bytes,
    source_url: str | None,
    metadata: dict[str, object] | None = None,
    *,
    blobs: "Blobs | None",
    scraper_id: str | None = None,
    source: str = "playhead",
    id: str | None = None,
    time: datetime | str | None = None,
    imported: str | None = None,
) -> Event:
    """Make the event of a content; one above 256 KiB is put into the blob store first.

    The scraper is `scraper_id`, or else what the metadata has under that name.

    Raises:
        InvalidEvent: names what cannot be recorded; nothing was stored.
        InvalidSetting: the content needs a blob store, and there is none.
        StoreUnavailable: the blob store did not take it.
    """
    raw = _encoded(content) if isinstance(content, str) else content
    described = metadata or {}
    encode_data(described)
    if scraper_id is None and isinstance(named := described.get("scraper_id"), str):
        scraper_id = named
    draft = new_event(CAPTURED, subject=f"content/{hashlib.sha256(raw).hexdigest()}", data=b"{}", time=time)
    kept, encoding = _kept(raw, blobs)
    payload = Capture(
        content=kept,
        encoding=encoding,
        source_url=source_url,
        scraper_id=scraper_id,
        metadata=described,
        captured_at=draft.time,
    )
    return new_event(
        CAPTURED,
        subject=draft.subject,
        data=payload,
        source=source,
        id=id,
        time=draft.time,
        dataschema=f"{CAPTURED}/1",
        imported=imported,
    )


def _kept(raw: bytes, blobs: "Blobs | None") -> tuple[str | Blob, Literal["base64"] | None]:
    if len(raw) > INLINE_LIMIT:
        if blobs is None:
            raise InvalidSetting(
                f"content of {len(raw)} bytes is above {INLINE_LIMIT} and needs a blob store: "
                f"pass Producer(..., blobs=...), or set {ProducerVariable.BLOB_DIR}"
            )
        return blobs.put(raw), None
    try:
        return raw.decode(), None
    except UnicodeDecodeError:
        return base64.b64encode(raw).decode(), "base64"


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise InvalidEvent("content", "holds a lone surrogate, which is not Unicode text; pass bytes") from error
