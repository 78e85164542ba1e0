"""The domain `notes`: its stream and its events."""

from playhead.streams.domains.domain import Domain
from playhead.streams.notes.events import stream

notes = Domain("notes")
notes.stream(stream)
