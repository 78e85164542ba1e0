"""The domain `documents`: its stream and its events."""

from playhead.streams.documents.events import stream
from playhead.streams.domains.domain import Domain

documents = Domain("documents")
documents.stream(stream)
