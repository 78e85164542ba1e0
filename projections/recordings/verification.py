"""The tables of recordings against the log, and the files against the tables."""

import hashlib
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

import msgspec

from playhead.projections.postgres import Database
from playhead.projections.recordings.fold import Fold, read
from playhead.projections.recordings.rows import (
    Meeting,
    Recording,
    TempRecording,
    chunks_of,
    find_meetings,
    lock_meetings,
    recordings_of,
    remove_meeting,
)
from playhead.projections.representable import ask_representable
from playhead.projections.verification import Held, Lack, LackKind, Repair, Stray
from playhead.streams.domains.place import Place
from playhead.streams.errors import InvalidEvent
from playhead.streams.events import Recorded
from playhead.streams.recordings.files import RecordingFiles
from playhead.streams.storage.file_tree import shown
from playhead.streams.storage.filenames import decode_name

_BATCH = 500
_HERE = Path(__file__).parent
_HELD, _UNKNOWN_ROWS = ((_HERE / f"{name}.sql").read_bytes() for name in ("held", "unknown_rows"))
_FOLDERS = ("mp3", "recordings")
"""PCM is not looked at: a recorder adopts what no event speaks of yet, and `sweep` ends it."""
_NEW_SECONDS = 3600
_NO_EVENT = "no event speaks of this file; move it away if nobody needs it"

_Row = TempRecording | Recording


class RecordingsVerification:
    """Folds the log once more, and compares every row and every file of a meeting with what comes of it."""

    compares = "rows with every column, audio files by SHA-256; what is of no event"
    unlogged = "append the event again, or restore the log from a backup"

    def __init__(self, place: Place, directory: Path, *, keep: bool) -> None:
        self._database = Database(place.database_url, "playhead-verify", place.schema)
        self._files, self._keep = RecordingFiles(directory), keep
        self._begin()

    def key(self, recorded: Recorded) -> str | None:
        """The meeting's id."""
        try:
            payload = read(recorded)
        except InvalidEvent:
            return None
        return None if payload is None else payload.meeting_id

    def rank(self, recorded: Recorded) -> str:
        """The order of its events."""
        return str(recorded.order)

    def mark(self, recorded: Recorded) -> str:
        """The same: a meeting keeps the order of its last event."""
        return str(recorded.order)

    def follow(self, recorded: Recorded) -> None:
        """Apply an event that the projection has come to and not set aside."""
        try:
            payload = read(recorded)
            if payload is not None:
                self._fold.apply(recorded, payload)
                self._last[payload.meeting_id] = recorded
        except InvalidEvent:
            pass  # it was parked, and dropped by hand since

    def differences(self) -> Iterator[Lack]:
        """What is missing or wrong after all that was followed, and begin anew."""
        fold, last = self._fold, self._last
        self._begin()
        recordings = _by_meeting(fold.recordings.values())
        chunks = _by_meeting(fold.chunks.values())
        known = list(fold.meetings)
        for ids in (known[start : start + _BATCH] for start in range(0, len(known), _BATCH)):
            for part, (meetings, stored_chunks, stored_recordings) in ask_representable(ids, self._stored):
                for id_ in part:
                    expected, found = fold.meetings[id_], meetings.get(id_)
                    mark = None if found is None else found.event_order
                    if mark is not None and mark > expected.event_order:
                        yield Lack("other", id_, last[id_], "meetings", "the row shows another event", standing=mark)
                        continue
                    problem = (
                        _meeting_problem(expected, found)
                        or _problem("temp_recordings", chunks.get(id_, {}), stored_chunks.get(id_, {}))
                        or _problem("recordings", recordings.get(id_, {}), stored_recordings.get(id_, {}))
                    )
                    if problem is not None:
                        kind, table, text = problem
                        repair: Repair = "replay" if kind == "stale" else "replace"
                        yield Lack(kind, id_, last[id_], table, text, whole=True, repair=repair, standing=mark)
                    else:
                        files = chunks.get(id_, {}), recordings.get(id_, {})
                        yield from self._files_lacking(expected, *files, last[id_])

    def _stored(
        self, ids: Sequence[str]
    ) -> tuple[dict[str, Meeting], dict[str, dict[str, _Row]], dict[str, dict[str, _Row]]]:
        """The rows of meetings at one instant."""
        with self._database.transaction() as connection:
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            meetings = {one.id: one for one in find_meetings(connection, ids)}
            return meetings, _by_meeting(chunks_of(connection, *ids)), _by_meeting(recordings_of(connection, *ids))

    def held(self) -> Iterator[Held | Stray]:
        """Every meeting with the order of its last event, rows of no meeting, and files that no row speaks of."""
        with self._database.transaction() as connection:
            with connection.cursor("playhead_held") as meetings:
                for id_, order in meetings.execute(_HELD):
                    yield Held(id_, order, "meetings")
            with connection.cursor("playhead_strays") as rows:
                for id_, places in rows.execute(_UNKNOWN_ROWS):
                    yield Stray(id_, places, "no event speaks of this meeting; delete its rows")
        for folder in _FOLDERS:
            for path, folders, files in os.walk(self._files.directory / folder):
                folders.sort()
                meeting = Path(path).relative_to(self._files.directory).parts[1:2]
                yield from self._stray_files(Path(path), sorted(files), *meeting)

    def _stray_files(self, folder: Path, files: Sequence[str], meeting: str = "") -> Iterator[Stray]:
        """Files of one folder that nothing speaks of; new ones may be of an event that is about to be appended."""
        names = [(folder / name).relative_to(self._files.directory).as_posix() for name in files if name[0] != "."]
        if not names:
            return
        known: set[str | None] = set()
        with suppress(ValueError), self._database.transaction() as connection:
            id_ = decode_name(meeting)
            known = {row.mp3_path for row in chunks_of(connection, id_)}
            known |= {row.filename for row in recordings_of(connection, id_)}
        for name in names:
            place = self._files.directory / name
            with suppress(FileNotFoundError):
                if name not in known and time.time() - place.lstat().st_mtime > _NEW_SECONDS:
                    yield Stray(
                        shown(name), str(place), "no event speaks of this file; move it away if nobody needs it"
                    )

    def discard(self, lack: Lack) -> bool:
        """Remove the rows of a meeting that still is as it was judged, so that its events make them again."""
        with self._database.transaction() as connection:
            lock_meetings(connection)
            standing = [one.event_order for one in find_meetings(connection, [lack.key])]
            if standing != ([] if lack.standing is None else [lack.standing]):
                return False
            remove_meeting(connection, lack.key)
            return True

    def close(self) -> None:
        """Close the connection."""
        self._database.close()

    def _begin(self) -> None:
        self._fold = Fold({}, {}, keep=self._keep)
        self._last: dict[str, Recorded] = {}

    def _files_lacking(
        self, meeting: Meeting, chunks: dict[str, _Row], recordings: dict[str, _Row], recorded: Recorded
    ) -> Iterator[Lack]:
        for row in [*recordings.values(), *chunks.values()]:
            name = row.filename if isinstance(row, Recording) else row.mp3_path
            if name is None or row.sha256 is None:
                continue
            fault = self._file_fault(name, row.sha256)
            if fault is not None and self._stands(meeting):
                place, mark = str(self._files.directory / name), meeting.event_order
                yield Lack(fault[0], meeting.id, recorded, place, fault[1], repair="none", standing=mark)

    def _file_fault(self, name: str, sha256: str) -> tuple[LackKind, str] | None:
        try:
            with self._files.open(name) as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except FileNotFoundError:
            return "missing", "the file is not there"
        except OSError as error:
            return "altered", f"the file cannot be read: {error.strerror}"
        return None if found == sha256 else ("altered", "the file has another sha256 than its row")

    def _stands(self, meeting: Meeting) -> bool:
        """Whether nothing happened to a meeting since: its promotion removes the files of its chunks."""
        with self._database.transaction() as connection:
            return [meeting.event_order] == [one.event_order for one in find_meetings(connection, [meeting.id])]


def _by_meeting(rows: Iterable[_Row]) -> dict[str, dict[str, _Row]]:
    found: dict[str, dict[str, _Row]] = {}
    for row in rows:
        found.setdefault(row.meeting_id, {})[row.id] = row
    return found


_Problem = tuple[LackKind, str, str]


def _meeting_problem(expected: Meeting, found: Meeting | None) -> _Problem | None:
    if found is None:
        return "missing", "meetings", "the row is not there"
    if found.event_order < expected.event_order:
        return "stale", "meetings", "the row shows an older event"
    return None if found == expected else ("altered", "meetings", f"{_differing(expected, found)} differ")


def _problem(
    table: Literal["temp_recordings", "recordings"], expected: dict[str, _Row], found: dict[str, _Row]
) -> _Problem | None:
    for id_, row in expected.items():
        other = found.get(id_)
        if other is None:
            return "missing", table, f"the row {id_} is not there"
        if other != row:
            return "altered", table, f"{_differing(row, other)} of the row {id_} differ"
    surplus = found.keys() - expected.keys()
    return ("altered", table, f"the row {min(surplus)} should not be there") if surplus else None


def _differing(expected: msgspec.Struct, found: msgspec.Struct) -> str:
    fields = expected.__struct_fields__
    return ", ".join(name for name in fields if getattr(expected, name) != getattr(found, name))
