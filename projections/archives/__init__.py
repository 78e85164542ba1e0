"""One tar.gz a capture."""

from projections.archives.projection import Archives

__all__ = ["Archives"]
