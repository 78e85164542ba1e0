"""The projection of the domain `content`, made with its settings."""

from playhead.content.domain import ARCHIVE_LEVEL
from playhead.projections.content.projection import Archives
from playhead.projections.content.verification import ArchivesVerification
from playhead.settings.core import BLOB_DIR
from playhead.streams.domains.place import Place


def archives(place: Place) -> Archives:
    """The sink that keeps an archive of each capture."""
    return Archives(place.location, place.settings[BLOB_DIR], place.settings[ARCHIVE_LEVEL])


def archives_verification(place: Place) -> ArchivesVerification:
    """What compares the archives with the log."""
    return ArchivesVerification(place.location, place.settings[BLOB_DIR])
