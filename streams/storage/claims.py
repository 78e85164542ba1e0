"""Claim checks: what stands in an event for content that is too large for it."""

import msgspec

INLINE_LIMIT = 256 * 1024
"""Bytes of content that stand in the event itself; more goes to the blob store."""


class Blob(msgspec.Struct, frozen=True):
    """The claim check in an event: `size` in bytes before compression, `url` where the blob was put.

    A reader looks the hash up in the blob store of its own settings; the URL is for people and other tools.
    """

    sha256: str
    size: int
    url: str
