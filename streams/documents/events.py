"""The stream `documents`: crawls, the documents they found, and their processing."""

import msgspec

from playhead.streams.domains.event_types import Stream

stream = Stream("documents")


class OfSource(msgspec.Struct, frozen=True, kw_only=True):
    """What every payload about a crawl has."""

    source_id: str = ""


class OfDocument(msgspec.Struct, frozen=True, kw_only=True):
    """What every payload about a document has."""

    document_id: str = ""


class OfProcessing(msgspec.Struct, frozen=True, kw_only=True):
    """What every payload about a processing job has."""

    job_id: str = ""


@stream.event("crawl.completed", subject="source/{source_id}")
class CrawlCompleted(OfSource, frozen=True, kw_only=True):
    """A crawl ended."""


@stream.event("document.saved", subject="document/{document_id}")
class DocumentSaved(OfDocument, frozen=True, kw_only=True):
    """A document is stored."""


@stream.event("document.processed", subject="document/{document_id}")
class DocumentProcessed(OfDocument, frozen=True, kw_only=True):
    """A document's chunks have vectors."""


@stream.event("document.failed", subject="document/{document_id}")
class DocumentFailed(OfDocument, frozen=True, kw_only=True):
    """A document cannot be processed."""


@stream.event("processing.requested", subject="processing/{job_id}")
class ProcessingRequested(OfProcessing, frozen=True, kw_only=True):
    """Documents are to be processed."""


@stream.event("processing.started", subject="processing/{job_id}")
class ProcessingStarted(OfProcessing, frozen=True, kw_only=True):
    """The processing began."""


@stream.event("processing.completed", subject="processing/{job_id}")
class ProcessingCompleted(OfProcessing, frozen=True, kw_only=True):
    """Every document is processed."""


@stream.event("processing.failed", subject="processing/{job_id}")
class ProcessingFailed(OfProcessing, frozen=True, kw_only=True):
    """The processing cannot go on."""


@stream.event("processing.cancelled", subject="processing/{job_id}")
class ProcessingCancelled(OfProcessing, frozen=True, kw_only=True):
    """Somebody canceled the processing."""
