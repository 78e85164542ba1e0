"""The JSON files against the log."""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path

import msgspec

from playhead.eventlog.jobs.parts import Part, parts_of
from playhead.eventlog.jobs.recorder_files import decode_recorded
from playhead.eventlog.replay.files import NotAnEvent
from playhead.projections.jobs.json_files.days import SUMMARY, is_day
from playhead.projections.jobs.json_files.documents import STATUSES, Document, make_document, read_event_id
from playhead.projections.jobs.json_files.standing import Parts, Standing, StandingFiles, StandingObjects, digest_of
from playhead.projections.jobs.json_files.summaries import UNKNOWN, Entry, decode_summary, encode_summary
from playhead.projections.verification import Held, Lack, Stray
from playhead.streams.errors import InvalidEvent, UnsafePath
from playhead.streams.events import Event, Recorded
from playhead.streams.members import NULL, decode_members, text_or_none, without_mark
from playhead.streams.positions import START
from playhead.streams.storage.file_tree import shown
from playhead.streams.storage.filenames import decode_name

_SUMMARIES_KEPT = 8
_SCRAPER = ("scrapers", "id")
_NO_EVENT = "no event wrote this file; move it away if nobody needs it"


class _Summary(msgspec.Struct, frozen=True):
    """A day's summary as it stands: `entries` is None if it cannot be read, or does not count what it names."""

    digest: bytes | None
    entries: dict[str, Entry] | None


class JsonFilesVerification:
    """Compares files byte for byte with what the newest event of each job and day writes, and the days' summaries."""

    compares = "files byte by byte, summaries; what is of no event"
    unlogged = "`playhead replay --use-default-output-dir` imports it, or restore the log from a backup"

    def __init__(self, root: Path) -> None:
        self._standing: Standing = StandingFiles(root)
        self._summaries: dict[str, tuple[bytes | None, _Summary]] = {}

    def key(self, recorded: Recorded) -> str | None:
        """The day and the job's id, such as `2025-08-09/17`."""
        document = _document(recorded)
        return None if document is None else _key(document)

    def rank(self, recorded: Recorded) -> str:
        """The order of its events."""
        return str(recorded.order)

    def mark(self, recorded: Recorded) -> str:
        """The event's id, which stands in the file."""
        return recorded.event.id

    def group(self, recorded: Recorded) -> str | None:
        """The key of the summary that names it, such as `2025-08-09/summary.json`."""
        document = _document(recorded)
        return None if document is None else f"{document.day}/{SUMMARY}"

    def lacks(self, events: Sequence[Recorded]) -> Iterator[Lack]:
        """Events whose file, or its line in the day's summary, is not as they would write it."""
        written = self._standing.written()
        summaries: dict[str, _Summary] = {}
        for recorded in events:
            document = _document(recorded)
            if document is None:
                continue
            lack = self._file_lack(recorded, document)
            if lack is None:
                if document.day not in summaries:
                    summaries[document.day] = self._summary(document.day)
                lack = self._summary_lack(recorded, document, summaries[document.day], written.get(document.day, {}))
            if lack is not None:
                yield lack

    def held(self) -> Iterator[Held | Stray]:
        """Every file with the event that it says it is of, and what the summaries name beside these."""
        for day, files in groupby(self._standing.files(), key=lambda one: one[0][0]):
            seen: set[str] = set()
            for parts, end in files:
                if parts[1:] != (SUMMARY,) or end is None or not is_day(day):
                    for one in self._of_file(parts, end):
                        seen.add(one.key)
                        yield one
            for entry in ((self._summary(day).entries or {}) if is_day(day) else {}).values():
                if (key := f"{day}/{entry.job_id}") not in seen:
                    yield Held(key, entry.event_id, self._place((day, SUMMARY)))

    def discard(self, lack: Lack) -> bool:
        """Move a file that still is what was judged to `.replaced`, or a replay would take it for written."""
        parts = tuple(lack.key.split("/")) if lack.whole else _parts(make_document(lack.recorded))
        if lack.content is None:
            return self._standing.read(parts) is None
        return self._standing.replace(parts, lack.content)

    def close(self) -> None:
        """Nothing is held."""

    def _file_lack(self, recorded: Recorded, document: Document) -> Lack | None:
        parts = _parts(document)
        lack = partial(Lack, key=_key(document), recorded=recorded, place=self._place(parts))
        try:
            content = self._standing.read(parts)
        except UnsafePath as error:
            return lack("altered", problem=f"{error.filename}: {error.strerror}", repair="none")
        if content == document.content:
            return None
        if content is None:
            return lack("missing", problem="the file is not there")
        event_id = read_event_id(content)
        lack = partial(lack, standing=event_id, content=digest_of(content), repair="replace")
        if event_id == recorded.event.id:
            return lack("altered", problem="the file was altered")
        return lack("other", problem="the file shows another event" if event_id else "the file shows no event")

    def _summary_lack(
        self, recorded: Recorded, document: Document, summary: _Summary, written: dict[str, Entry]
    ) -> Lack | None:
        """What is wrong with a summary, if it does not say of a job what its file says."""
        entry = _as_summarized(document.entry)
        newer = written.get(entry.job_id)
        found = None if summary.entries is None else summary.entries.get(entry.job_id)
        if found == entry or (newer is not None and newer.order >= entry.order):
            return None
        if found is not None and found.order > entry.order and self._file_lack(recorded, document) is not None:
            return None  # the file was replaced since it was read
        return Lack(
            "missing" if summary.digest is None else "altered",
            f"{document.day}/{SUMMARY}",
            recorded,
            self._place((document.day, SUMMARY)),
            "the summary is not there" if summary.digest is None else "the summary is not what the day's files say",
            whole=True,
            repair="replace",
            standing=recorded.event.id,
            content=summary.digest,
        )

    def _summary(self, day: str) -> _Summary:
        """The summary of a day, read again if it has changed."""
        content = self._standing.read((day, SUMMARY))
        digest = digest_of(content)
        known = self._summaries.pop(day, None)
        made = known[1] if known is not None and known[0] == digest else _Summary(digest, _entries(day, content))
        self._summaries[day] = digest, made
        while len(self._summaries) > _SUMMARIES_KEPT:
            del self._summaries[next(iter(self._summaries))]
        return made

    def _of_file(self, parts: Parts, end: bytes | None) -> Iterator[Held | Stray]:
        """What a file is of: one of ours says it, one of a recorder holds results that are events, or may be."""
        name = shown("/".join(parts))
        if end is None:
            yield Stray(name, self._place(parts), "it is no regular file; remove it")
            return
        event_id, key = read_event_id(end), self._key_of(parts)
        if event_id is not None and key is not None:
            yield Held(key, event_id, self._place(parts))
            return
        events = list(self._recorded(parts))
        for event in events:
            if (document := _document(Recorded(event, START))) is not None:
                yield Held(_key(document), event.id, self._place(parts))
        if not events:
            yield Stray(name, self._place(parts), _NO_EVENT)

    def _key_of(self, parts: Parts) -> str | None:
        """The key of a file of ours by its place, None if it is not where one of ours stands."""
        day, folders, file = parts[0], list(parts[1:-1]), parts[-1]
        in_folder = folders == ["processed"] or (folders[:1] == ["scrapers"] and len(folders) == len(_SCRAPER))
        if not (in_folder and is_day(day) and file.endswith(".json")):
            return None
        try:
            return f"{day}/{decode_name(file.removesuffix('.json'))}"
        except ValueError:  # too long for a name
            members = decode_members(self._standing.read(parts) or b"") or {}
            job_id = text_or_none(members.get("job_id", NULL))
            return None if job_id is None else f"{day}/{job_id}"

    def _recorded(self, parts: Parts) -> Iterator[Event]:
        """The events that a recorder's file gives; an unreadable one gives none."""
        try:
            content = without_mark(self._standing.read(parts) or b"")
            for part in parts_of(content):
                if isinstance(part, Part):
                    yield decode_recorded(content[part.start : part.end]).event
        except (InvalidEvent, NotAnEvent):
            return

    def _place(self, parts: Parts) -> str:
        return self._standing.place(parts)


class JsonObjectsVerification(JsonFilesVerification):
    """The same for the files in a bucket."""

    unlogged = "restore the log from a backup, or import a copy of it with `playhead replay --file`"

    def __init__(self, location: str) -> None:
        super().__init__(Path())
        self._standing = StandingObjects(location)


def _document(recorded: Recorded) -> Document | None:
    """What the event writes, None if nothing."""
    if recorded.event.type not in STATUSES:
        return None
    try:
        return make_document(recorded)
    except InvalidEvent:
        return None


def _entries(day: str, content: bytes | None) -> dict[str, Entry] | None:
    try:
        entries = {} if content is None else decode_summary(content)
    except ValueError:
        return None
    return entries if content is None or encode_summary(day, list(entries.values())) == content else None


def _as_summarized(entry: Entry) -> Entry:
    """A summary does not tell a scraper that is called so from none."""
    return msgspec.structs.replace(entry, scraper_id=None) if entry.scraper_id == UNKNOWN else entry


def _key(document: Document) -> str:
    return f"{document.day}/{document.entry.job_id}"


def _parts(document: Document) -> Parts:
    return document.day, *document.entry.folder, document.entry.file
