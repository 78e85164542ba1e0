"""A `content.captured` event as an archive needs it: lenient, so that whatever was passed is kept."""

import base64
import binascii
import hashlib
from collections.abc import Callable
from datetime import datetime

import msgspec

from playhead.projections.encoding import decode, encode
from playhead.streams.errors import InvalidEvent
from playhead.streams.events import Event, parse_date_or_time
from playhead.streams.members import NULL, decode_members, text_or_none

_OWN = ("content", "encoding")


class Check(msgspec.Struct, frozen=True):
    """A claim check, as far as it is trusted: the URL in it is not followed."""

    sha256: str
    size: int


class Captured(msgspec.Struct, frozen=True):
    """One capture: its content or claim check, when and by which scraper, and every other member of the payload."""

    content: bytes | Check
    moment: datetime
    scraper_id: str | None
    members: dict[str, msgspec.Raw]

    @property
    def size(self) -> int:
        """Bytes of the content, as the event says."""
        return self.content.size if isinstance(self.content, Check) else len(self.content)

    def load(self, blob: Callable[[str, int], bytes]) -> bytes:
        """The content itself."""
        return blob(self.content.sha256, self.content.size) if isinstance(self.content, Check) else self.content

    def fits(self, content: bytes) -> bool:
        """Whether that is the content of this capture."""
        if isinstance(self.content, Check):
            return self.content == Check(hashlib.sha256(content).hexdigest(), len(content))
        return self.content == content


def decode_captured(event: Event) -> Captured:
    """Read an event of this type.

    Raises:
        InvalidEvent: it has no content, or one that cannot be read.
    """
    members = decode_members(event.data)
    if members is None:
        raise InvalidEvent("data", "is not a JSON object")
    content = _content(members.get("content", NULL), members.get("encoding", NULL))
    others = {name: value for name, value in members.items() if name not in _OWN}
    others.setdefault("captured_at", msgspec.Raw(encode(event.time)))
    return Captured(
        content, _moment(others["captured_at"], event), text_or_none(others.get("scraper_id", NULL)), others
    )


def _content(value: msgspec.Raw, encoding: msgspec.Raw) -> bytes | Check:
    given = bytes(value).strip()
    named = text_or_none(encoding)
    if given.startswith(b"{"):
        try:
            return msgspec.json.decode(given, type=Check)
        except (ValueError, RecursionError) as error:
            raise InvalidEvent("data.content", "is no claim check with sha256 and size") from error
    if not given.startswith(b'"'):
        raise InvalidEvent("data.content", "is neither text nor a claim check")
    try:
        text = decode(given, str)
    except ValueError as error:
        raise InvalidEvent("data.content", "is not UTF-8") from error
    if named is None:
        return text.encode("utf-8", "surrogatepass")
    if named != "base64":
        raise InvalidEvent("data.encoding", "is neither null nor base64")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidEvent("data.content", "is not base64") from error


def _moment(captured_at: msgspec.Raw, event: Event) -> datetime:
    try:
        return parse_date_or_time(text_or_none(captured_at) or event.time)
    except InvalidEvent:
        return event.timestamp
