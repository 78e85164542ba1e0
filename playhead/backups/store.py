"""The store of a backup: `parts/`, each once by its SHA-256, and `runs/`, each written last.

Nothing in it is ever written over or removed, so runs at once, and a run that is killed, harm no other run.
"""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from playhead.backups.errors import BackupDamaged
from playhead.backups.runs import PART_BYTES, File, Part, Place, Run, decode_run, encode_run, number_of
from playhead.streams.errors import BlobAltered, BlobMissing, InvalidSetting
from playhead.streams.installation import PlaceMark
from playhead.streams.storage.blobs import Blobs, blob_name
from playhead.streams.storage.objects import Objects
from playhead.streams.storage.trust import refuse_untrusted

_PARTS, _RUNS = "parts", "runs"
_STORED_LIMIT = 2 * PART_BYTES
"""Bytes that a compressed part may have; a longer one is none of ours, and is not read."""


class Store:
    """A backup in a directory or below an `s3://` URL.

    Raises:
        InvalidSetting: the location has another form.
        Untrusted: another user could change what is read, or write what is restored.
    """

    def __init__(self, location: str) -> None:
        self.location = location
        self.mark = PlaceMark("the backup", location)
        self._blobs = Blobs(_below(location, _PARTS))
        self._runs = Objects(_below(location, _RUNS))
        self._stored: dict[str, int] | None = None
        if self.mark.directory is not None:
            refuse_untrusted(self.mark.directory)
        self.added_bytes = 0
        """Bytes that this process added, before compression."""

    @property
    def directory(self) -> Path | None:
        """The directory, None for a bucket."""
        return self.mark.directory

    def prepare(self) -> None:
        """Make the directories, and remove what processes that were killed left there."""
        for objects in (Objects(self.location), self._blobs.objects, self._runs):
            objects.prepare()

    def run_files(self) -> list[str]:
        """The files of the runs, from the first to the last."""
        return sorted(one.name for one in self._runs.list() if number_of(one.name) is not None)

    def require_runs(self, number: int | None = None) -> list[str]:
        """The same, or the file of the run with a number.

        Raises:
            InvalidSetting: there is none.
        """
        files = self.run_files()
        if not files:
            advice = "name the directory or URL that `playhead backup` was given"
            raise InvalidSetting(f"{self.location} has no run that is complete: {advice}")
        names = [name for name in files if number in (None, number_of(name))]
        if not names:
            first, last = number_of(files[0]), number_of(files[-1])
            raise InvalidSetting(f"{self.location} has no run {number}; it has runs {first} to {last}")
        return names

    def read_run(self, name: str) -> Run:
        """Read a run.

        Raises:
            BackupDamaged: it is missing or altered.
        """
        content = self._runs.get(name)
        if content is None:
            raise BackupDamaged(f"{self._runs.url(name)} is missing")
        try:
            return decode_run(name, content)
        except ValueError as error:  # msgspec's is one
            raise BackupDamaged(f"{self._runs.url(name)} is damaged: {error}") from error

    def write_run(self, run: Run) -> None:
        """Add a run; from now on it is the last one."""
        name, content = encode_run(run)
        self._runs.put(name, content)

    def keep(self, content: bytes) -> Part:
        """Keep a part, and read back what was written; one that is there already is not written again.

        Raises:
            BlobAltered: what was written is something else.
        """
        part = Part(hashlib.sha256(content).hexdigest(), len(content))
        if not self.has(part):
            blob = self._blobs.put(content)
            self._blobs.check(blob.sha256, blob.size)
            self._known()[blob_name(part.sha256)] = len(content)
            self.added_bytes += len(content)
        return part

    def has(self, part: Part) -> bool:
        """Whether a part is there; what it holds is not looked at."""
        return part.is_valid and self._known().get(blob_name(part.sha256), _STORED_LIMIT + 1) <= _STORED_LIMIT

    def read(self, part: Part) -> bytes:
        """The bytes of a part, checked.

        Raises:
            BackupDamaged: it is missing or altered.
        """
        if not self.has(part):
            raise BackupDamaged(f"{self._place(part)} is missing")
        try:
            return self._blobs.get(part.sha256, part.size)
        except (BlobMissing, BlobAltered) as error:
            raise BackupDamaged(f"{self._place(part)} is damaged") from error

    def keep_listing(self, files: Iterable[File]) -> list[Part]:
        """Keep the list of the files of a place."""
        return [self.keep(block) for block in in_parts(msgspec.json.encode(one) + b"\n" for one in files)]

    def files(self, place: Place) -> list[File]:
        """The files of a place, in the order in which they were listed.

        Raises:
            BackupDamaged: the listing is damaged, or a name in it leads elsewhere, or is there twice.
        """
        listing = b"".join(self.read(part) for part in place.listing)
        try:
            found = [msgspec.json.decode(line, type=File) for line in listing.splitlines()]
        except ValueError as error:
            raise BackupDamaged(f"the files of {place.setting} cannot be read: {error}") from error
        if strange := next((file for file in found if not file.is_valid), None):
            raise BackupDamaged(
                f"the files of {place.setting} have one that Playhead never wrote, {strange.name!r:.100}"
            )
        if len({file.name for file in found}) < len(found):
            raise BackupDamaged(f"the files of {place.setting} have the same name twice, which Playhead never wrote")
        return found

    def _known(self) -> dict[str, int]:
        if self._stored is None:
            self._stored = {one.name: one.size for one in self._blobs.objects.list()}
        return self._stored

    def _place(self, part: Part) -> str:
        return self._blobs.objects.url(blob_name(part.sha256)) if part.is_valid else "a part with an invalid name"


def in_parts(blocks: Iterable[bytes], sizes: Iterable[int] = ()) -> Iterator[bytes]:
    """The same bytes in parts: first of the given sizes, as far as there are bytes, then of the largest size."""
    wanted = iter(sizes)
    size = next(wanted, PART_BYTES)
    waiting = bytearray()
    for block in blocks:
        waiting += block
        while len(waiting) >= size:
            yield bytes(waiting[:size])
            del waiting[:size]
            size = next(wanted, PART_BYTES)
    if waiting:
        yield bytes(waiting)


def _below(location: str, name: str) -> str:
    return f"{location.rstrip('/')}/{name}" if "://" in location else str(Path(location) / name)
