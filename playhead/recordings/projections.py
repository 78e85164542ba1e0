"""The projection of the domain `recordings`, made with its settings."""

from playhead.projections.recordings.projection import Recordings
from playhead.projections.recordings.verification import RecordingsVerification
from playhead.recordings.domain import KEEP_CHUNKS, RECORDINGS_DIR
from playhead.streams.domains.place import Place


def recordings(place: Place) -> Recordings:
    """The sink that keeps the tables of meetings, chunks and recordings."""
    return Recordings(place, keep=place.settings[KEEP_CHUNKS])


def recordings_verification(place: Place) -> RecordingsVerification:
    """What compares tables and recordings with the log."""
    return RecordingsVerification(place, place.settings[RECORDINGS_DIR], keep=place.settings[KEEP_CHUNKS])
