"""The recorder's JSON files as a source of jobs."""

from collections.abc import Mapping
from pathlib import Path

from playhead.eventlog.jobs.recorder_files import RecorderFiles, scraper_of
from playhead.eventlog.replay.files import Meaning
from playhead.jobs.domain import OUTPUT_DIR
from playhead.settings.settings import Settings, output_directory
from playhead.streams.jobs.events import stream
from playhead.streams.jobs.outcomes import meanings_of


class RecorderFileSource:
    """One finished job a file, below OUTPUT_DIR or wherever an older recorder left them."""

    def __init__(self, settings: Settings) -> None:
        self.stream, self.projection = stream.name, "json-files"
        self._settings = settings

    def default_directory(self) -> Path:
        """The directory of the days.

        Raises:
            InvalidSetting: OUTPUT_DIR is a bucket.
        """
        return output_directory(self._settings, OUTPUT_DIR, "--use-default-output-dir") / "daily"

    def open(self, directory: Path, statuses: Mapping[str, Meaning]) -> RecorderFiles:
        """Open the files below a directory; `statuses` says what a status means that is not known otherwise."""
        return RecorderFiles(directory, meanings_of(statuses))

    def scraper_of(self, data: bytes) -> str | None:
        """The scraper that a job was for."""
        return scraper_of(data)
