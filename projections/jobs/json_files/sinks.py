"""The sink of the JSON files, for a directory or a bucket."""

from pathlib import Path

from playhead.projections.jobs.json_files.objects import JsonObjects
from playhead.projections.jobs.json_files.projection import JsonFiles
from playhead.projections.jobs.json_files.verification import JsonFilesVerification, JsonObjectsVerification
from playhead.projections.verification import Verifiable
from playhead.streams.domains.place import Place
from playhead.streams.sinks import Sink
from playhead.streams.storage.objects import Objects


def json_files(place: Place) -> Sink:
    """The sink that keeps the files of a place."""
    objects = Objects(place.location)
    if objects.directory is None:
        return JsonObjects(objects.location, place.scratch)
    return JsonFiles(Path(place.location))


def json_files_verification(place: Place) -> Verifiable:
    """What compares them with the log."""
    objects = Objects(place.location)
    if objects.directory is None:
        return JsonObjectsVerification(objects.location)
    return JsonFilesVerification(Path(place.location))
