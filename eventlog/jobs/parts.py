"""Where the job results of a file are: the file itself, lines, items of a list, or members of a store."""

from collections.abc import Iterator
from itertools import repeat

import msgspec

from playhead.streams.errors import InvalidEvent
from playhead.streams.members import NULL, compact, decode_items, decode_members

_LEVELS = 4
"""Lists and objects that may stand around a result."""
_SUMMARY = {"date", "total_jobs"}


class Part(msgspec.Struct, frozen=True):
    """Bytes of a file that are one job result, `label` where they are not the whole file."""

    start: int
    end: int
    label: str = ""


class NoPart(msgspec.Struct, frozen=True):
    """Bytes of a file that are none, and what they are; `broken` where they are not JSON."""

    reason: str
    label: str = ""
    broken: bool = False
    spare: bool = False


def parts_of(content: bytes) -> Iterator[Part | NoPart]:
    """Find the job results of a file, which is JSON or JSON Lines in UTF-8.

    Raises:
        InvalidEvent: it is neither.
    """
    try:
        compact(content)
    except RecursionError as error:
        raise InvalidEvent("file", "not JSON that can be read: it is nested too deeply") from error
    except ValueError as error:
        if not _is_json_lines(content):
            raise InvalidEvent("file", f"not JSON that can be read: {error}") from error
        yield from _lines(content)
    else:
        yield from _document(content, 0, len(content), "")


def _is_json_lines(content: bytes) -> bool:
    """Whether the first of several lines is a JSON object or list."""
    first, _, rest = content.strip().partition(b"\n")
    return bool(rest) and first[:1] in {b"{", b"["} and _is_json(first)


def _is_json(text: bytes) -> bool:
    try:
        compact(text)
    except (ValueError, RecursionError):
        return False
    return True


def _lines(content: bytes) -> Iterator[Part | NoPart]:
    start = 0
    for number, line in enumerate(content.split(b"\n"), 1):
        if line.strip():
            label = f"line {number}"
            if _is_json(line):
                yield from _document(content, start, start + len(line), label)
            else:
                yield NoPart("not JSON that can be read", label, broken=True)
        start += len(line) + 1


def _document(content: bytes, start: int, end: int, label: str) -> Iterator[Part | NoPart]:
    """What one JSON document holds."""
    members = decode_members(content[start:end])
    if members is not None:
        if _is_result(members):
            yield Part(start, end, label)
            return
        if members.keys() >= _SUMMARY:
            yield NoPart("summary", label, spare=True)
            return
        if _is_event(members):
            yield NoPart("event", label)
            return
    found = list(_inside(content, start, end, label, _LEVELS))
    yield from found or [NoPart("not a job result", label)]


def _inside(content: bytes, start: int, end: int, label: str, levels: int) -> Iterator[Part | NoPart]:
    """The results in a list or an object, at whatever level; nothing where it has none.

    Beside results, what else might have been one is named: any item of a list, any object of an object.
    """
    items = decode_items(content[start:end])
    members = None if items is not None else decode_members(content[start:end])
    named = zip(repeat(None), items, strict=False) if items is not None else (members or {}).items()
    found: list[Part | NoPart] = []
    strangers: list[NoPart] = []
    position = start
    for number, (name, raw) in enumerate(named):
        value = bytes(raw)
        if (position := content.find(value, position, end)) < 0:  # of a name that stands twice, the last value counts
            position = content.find(value, start, end)
        inner = f"{label}[{number if name is None else name!r}]"
        within = decode_members(value)
        if within is not None and _is_result(within):
            found.append(Part(position, position + len(value), inner))
        elif inside := _results_inside(content, position, len(value), inner, within, levels):
            found += inside
        elif name is None or within is not None:
            strangers.append(NoPart("event" if within is not None and _is_event(within) else "not a job result", inner))
        position += len(value)
    if any(isinstance(one, Part) for one in found):
        yield from found
        yield from strangers


def _results_inside(
    content: bytes, start: int, length: int, label: str, members: dict[str, msgspec.Raw] | None, levels: int
) -> list[Part | NoPart]:
    if levels == 1 or content[start : start + 1] not in {b"{", b"["} or (members is not None and _is_event(members)):
        return []
    return list(_inside(content, start, start + length, label, levels - 1))


def _is_result(members: dict[str, msgspec.Raw]) -> bool:
    job_id = bytes(members.get("job_id", NULL)).lstrip()[:1]
    job = bytes(members.get("job", NULL)).lstrip()[:1]
    return job == b"{" and job_id != b"" and job_id in b'"-0123456789'


def _is_event(members: dict[str, msgspec.Raw]) -> bool:
    """Whether it is a CloudEvent, or a line of a log that has one: `playhead append` takes those, with their ids."""
    return "specversion" in members or members.keys() == {"position", "crc32c", "event"}
