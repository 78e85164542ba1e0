"""The stream `notes`: notes, and what enriching them came to. Readers keep what they do not know of a payload."""

import msgspec

from playhead.streams.domains.event_types import Stream

stream = Stream("notes")

_SUBJECT = "note/{note_id}"


class OfNote(msgspec.Struct, frozen=True, kw_only=True):
    """What every payload has."""

    note_id: str = ""


@stream.event("note.submitted", subject=_SUBJECT)
class NoteSubmitted(OfNote, frozen=True, kw_only=True):
    """Somebody wrote a note."""


@stream.event("note.enrichment_started", subject=_SUBJECT)
class EnrichmentStarted(OfNote, frozen=True, kw_only=True):
    """An attempt began."""


@stream.event("note.enriched", subject=_SUBJECT)
class NoteEnriched(OfNote, frozen=True, kw_only=True):
    """The note has its enrichment."""


@stream.event("note.enrichment_failed", subject=_SUBJECT)
class EnrichmentFailed(OfNote, frozen=True, kw_only=True):
    """No attempt follows by itself."""
