"""`playhead append`."""

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from playhead.commands.event_lines import event_of
from playhead.commands.spool import IN_SPOOL, open_producer
from playhead.settings.settings import load
from playhead.streams import telemetry
from playhead.streams.appending.core import checked, derived_subject, stream_of
from playhead.streams.appending.producer import Producer
from playhead.streams.domains.discovery import installed
from playhead.streams.errors import InvalidEvent, InvalidSetting
from playhead.streams.events import DEFAULT_SIZE_LIMIT, Event, new_event
from playhead.streams.names import TRACER
from playhead.streams.positions import Position
from playhead.streams.storage.file_tree import shown
from playhead.terminal import diagnostics
from playhead.terminal.options import DataDir, Json
from playhead.terminal.output import print_json_line, print_lines, say

_BATCH = 500
_CHUNK_BYTES = 1024 * 1024


class Appended(msgspec.Struct, frozen=True):
    """An event that is on disk; the position is that of its first append, and null while it waits in the spool."""

    id: str
    type: str
    subject: str
    position: str | None


def append(
    type: str | None = None,
    /,
    *,
    subject: str | None = None,
    data: str | None = None,
    stream: str | None = None,
    id: str | None = None,
    time: str | None = None,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Append one event, or without TYPE one for each JSON line on stdin, and print the positions.

    A line is an object with type, subject and data, and may have any other CloudEvents attribute, or it is a line as
    `playhead log cat` prints it. The first refused line ends the command with exit code 2: the lines before it are
    appended, none after it is. If PLAYHEAD_SPOOL_DIR is set and Redis does not accept an event, the event waits there,
    and `spooled` is printed instead of a position. If nobody reads the positions any more, as after `| head -1`, the
    rest of stdin is not appended; exit code 141.

    Args:
        type: What happened, in the past tense.
        subject: What the event is about; events of one subject keep their order. Made from the payload if omitted.
        data: The payload as JSON, @FILE to read it from a file, @- to read it from stdin.
        stream: The stream; required if no domain declares the type.
        id: The event's id; the same id again adds nothing. Generated if omitted.
        time: When it happened, RFC 3339; now if omitted.

    Example:
        playhead append job.failed --subject job/7 --data @outcome.json
        playhead append < outcomes.jsonl
    """
    settings = load(data_dir)
    diagnostics.configure(settings.log_format, settings.log_level)
    telemetry.set_up(f"{TRACER}-append")
    one = None if type is None else _to(stream, _one(type, subject, data, id, time))
    with open_producer(settings) as producer:
        if one is not None:
            _print([one], producer.append_events([one]), json=json)
        else:
            _append_lines(producer, stream, json=json)


def _to(stream: str | None, event: Event) -> Event:
    """Name the stream of an event whose type no domain declares."""
    if stream is None or event.type in installed().types:
        return event
    return msgspec.structs.replace(event, stream=stream)


def _one(type: str, subject: str | None, data: str | None, id: str | None, time: str | None) -> Event:
    content = _content(data)
    about = derived_subject(type, content) if subject is None else subject
    return new_event(type, subject=about, data=content, id=id, time=time)


def _content(data: str | None) -> bytes:
    if data is None:
        return b"{}"
    if data == "@-":
        return sys.stdin.buffer.read()
    if not data.startswith("@"):
        return data.encode(errors="surrogateescape")
    try:
        return Path(data[1:]).read_bytes()
    except OSError as error:
        raise InvalidSetting(f"--data names a file that cannot be read: {shown(data[1:])}: {error.strerror}") from error


def _append_lines(producer: Producer, stream: str | None, *, json: bool) -> None:
    """Send what stdin has now in one round trip, so that a file is fast and a slow producer waits for nothing."""
    if sys.stdin.isatty():
        say("reading JSON lines; Ctrl-D ends")
    count = 0
    try:
        for lines in _batches():
            events: list[Event] = []
            try:
                for number, line in lines:
                    events.append(_event(line, number, stream))
            finally:
                positions = producer.append_events(events)
                count += len(events)
                _print(events, positions, json=json)
    except BrokenPipeError:
        say("nobody reads the positions: the rest of stdin is not appended")
        raise
    finally:
        say(f"{count} {'event' if count == 1 else 'events'} appended")


def _batches() -> Iterator[list[tuple[int, bytes]]]:
    number, rest, ended = 0, b"", False
    while not ended:
        chunk = os.read(sys.stdin.fileno(), _CHUNK_BYTES)
        ended = not chunk
        *whole, rest = (rest + chunk).split(b"\n") if b"\n" in chunk or ended else (rest + chunk,)
        if ended:
            whole.append(rest)
        numbered = [(number + index, line) for index, line in enumerate(whole, 1) if line.strip()]
        number += len(whole)
        for start in range(0, len(numbered), _BATCH):
            yield numbered[start : start + _BATCH]


def _event(line: bytes, number: int, stream: str | None) -> Event:
    """The event of a line, checked here as the producer does, which would refuse the lines before it too."""
    try:
        event = checked(_to(stream, event_of(line)), DEFAULT_SIZE_LIMIT)
        stream_of(event)
    except InvalidEvent as error:
        problem = error.problem if error.field == "line" else error
        raise InvalidEvent(f"line {number}", f"{problem}; it and what follows were not appended") from error
    return event


def _print(events: list[Event], positions: Sequence[Position | None], *, json: bool) -> None:
    for event, position in zip(events, positions, strict=True):
        shown = Appended(event.id, event.type, event.subject, position and str(position))
        if json:
            print_json_line(shown)
        else:
            print_lines(shown.position or IN_SPOOL)
    sys.stdout.flush()
