"""One JSON file a job, in a directory a day."""

from playhead.projections.json_files.errors import Fenced, UnreadableSummary
from playhead.projections.json_files.projection import JsonFiles

__all__ = ["Fenced", "JsonFiles", "UnreadableSummary"]
