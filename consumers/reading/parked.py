"""Parked events: events set aside after failing for good, kept whole, with the reason."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import msgspec
from redis import Redis, RedisCluster

from playhead.streams.domains.catalogue import LOG
from playhead.streams.entries import RawEntry, subject_of
from playhead.streams.events import ATTRIBUTE_LIMIT
from playhead.streams.names import parked_key, parked_positions_key, reports_key
from playhead.streams.parked_positions import split_positions
from playhead.streams.partitions import Partition

_ABOUT = {b"parked_position", b"parked_reason", b"parked_class", b"parked_blocks"}
_OURS, _THEIRS = b"parked_", b"parked_field_"
"""How our fields begin, and how a field of the entry does in the parked one that would be taken for one of ours."""
_FIELDS_KEPT = 3000
"""A script can write no entry of more than some 4,000 fields; one of so many cannot be decoded, before or after."""
BEHIND, REFUSED, UNDECODABLE = "behind", "refused", "undecodable"
"""The classes of events that wait for an earlier one of their subject, that the sink cannot take, that are none."""
_PAGE = 100
"""Parked entries that are read at once; each may be large."""
_KEPT = 4 * (ATTRIBUTE_LIMIT + 1)
"""Bytes, of which UTF-8 takes four a character at most."""
_PARKED = re.compile(r"playhead:\{(.+):(\d{1,9})\}:parked:(.+)", re.DOTALL)
UNPARK = Path(__file__).with_name("unpark.lua").read_text()


class Parked(msgspec.Struct, frozen=True):
    """A parked event; `id` is its id among the parked ones of its consumer, its first part the time in ms.

    `position` is that of the entry that was parked, perhaps a replay's copy; `appended` is what `append` printed.
    """

    id: str
    consumer: str
    partition: str
    position: str
    subject: str
    type: str
    reason_class: str
    reason: str
    blocks: bool
    appended: str


class Aside(msgspec.Struct, frozen=True):
    """An entry that is to be set aside, and why."""

    entry: RawEntry
    reason: str
    reason_class: str

    @property
    def subject(self) -> str:
        """The subject of the entry, empty if it has none."""
        return subject_of(self.entry) or ""


class ParkedEvents:
    """The parked events of a consumer on a partition, as an operator sees them."""

    def __init__(self, client: "Redis | RedisCluster", consumer: str, partition: Partition) -> None:
        self._client, self._consumer, self._partition = client, consumer, partition
        self._stream = parked_key(partition.key, consumer)
        self._subjects = subjects_key(partition, consumer)
        self._positions = parked_positions_key(partition.key, consumer)

    def __iter__(self) -> Iterator[Parked]:
        return (parked for parked, _ in self._entries("-", "+"))

    def positions(self) -> frozenset[str]:
        """Positions of events that are parked, or were until an operator dropped them."""
        known = cast("dict[bytes, bytes]", cast("Any", self._client).hgetall(self._positions))
        return frozenset(position.decode() for position in split_positions(known).all)

    def show(self, parked_id: str) -> dict[str, str] | None:
        """Every field of a parked entry as it was appended, None if there is none."""
        for _, fields in self._entries(parked_id, parked_id):
            return {
                name.decode("utf-8", "backslashreplace"): value.decode("utf-8", "backslashreplace")
                for name, value in fields
            }
        return None

    def request_retry(self, parked: Parked) -> None:
        """Ask the process that serves the partition to apply the subject's parked events again, in order."""
        cast("Any", self._client).sadd(
            retry_key(self._partition, self._consumer), parked.subject if parked.blocks else "=" + parked.id
        )

    def drop(self, parked: Parked) -> bool:
        """Give an event up for this consumer; the log still has it. False if it is no longer parked."""
        was_there, _ = cast("Any", self._client.register_script(UNPARK))(
            keys=[self._stream, self._subjects, self._positions],
            args=[parked.id, parked.subject if parked.blocks else "", 1, parked.appended],
        )
        return bool(was_there)

    def _entries(self, first: str, last: str) -> Iterator[tuple[Parked, list[tuple[bytes, bytes]]]]:
        for parked_id, fields in self._pages(first, last):

            def text(name: bytes, fields: dict[bytes, bytes] = fields) -> str:
                return fields.get(name, b"").decode("utf-8", "backslashreplace")

            parked = Parked(
                id=parked_id.decode(),
                consumer=self._consumer,
                partition=str(self._partition),
                position=text(b"parked_position"),
                subject=text(b"ce_subject"),
                type=text(b"ce_type"),
                reason_class=text(b"parked_class"),
                reason=text(b"parked_reason"),
                blocks=fields.get(b"parked_blocks") == b"1",
                appended=text(b"ce_position") or text(b"parked_position"),
            )
            yield parked, _of_entry(fields)

    def _pages(self, first: str, last: str) -> Iterator[tuple[bytes, dict[bytes, bytes]]]:
        while page := self._client.xrange(self._stream, first, last, count=_PAGE):
            found = cast("list[tuple[bytes, dict[bytes, bytes]]]", page)
            yield from found
            first = f"({found[-1][0].decode()}"


def parked_by_unknown(
    client: "Redis | RedisCluster", readers: Mapping[Partition, Sequence[str]], halted: Iterable[str] = ()
) -> dict[str, int]:
    """How many events are parked by consumers that `readers` of a partition do not name, by consumer.

    These have a group, a report, or are among the `halted` ones.
    """
    others = [name.encode() for name in halted]
    redis, found = cast("Any", client), dict[str, int]()
    for partition, names in readers.items():
        groups = (group["name"] for group in redis.xinfo_groups(partition.key)) if redis.exists(partition.key) else ()
        for raw in {*groups, *others, *redis.hkeys(reports_key(partition.key))}:
            name = raw.decode("utf-8", "backslashreplace")
            if name not in names and (count := int(redis.xlen(parked_key(partition.key, name)))):
                found[name] = found.get(name, 0) + count
    return found


def parked_anywhere(client: "Redis | RedisCluster") -> dict[str, list[Partition]]:
    """Every consumer with parked events, in every stream, known here or not, and its partitions: looks at all keys."""
    found: dict[str, list[Partition]] = {}
    for key in cast("Any", client).scan_iter(match="playhead:{*}:parked:*", count=1000, _type="STREAM"):
        if match := _PARKED.fullmatch(key.decode("utf-8", "backslashreplace")):
            found.setdefault(match[3], []).append(Partition(match[1], int(match[2])))
    return {name: sorted(found[name]) for name in sorted(found)}


def parked_fields(aside: Aside, consumer: str, *, blocks: bool) -> list[str | bytes]:
    """The fields of a parked entry: those of the entry as it was, and what is to be known of it."""
    reason, fields = _parkable(aside.entry, aside.reason, consumer)
    about: list[str | bytes] = ["parked_position", aside.entry.entry_id, "parked_reason", reason]
    about += ["parked_class", aside.reason_class, "parked_blocks", str(int(blocks))]
    return about + [_THEIRS + part if not n % 2 and part.startswith(_OURS) else part for n, part in enumerate(fields)]


def subjects_key(partition: Partition, consumer: str) -> str:
    """The hash of subjects that wait, with how many of their events are parked."""
    return f"{partition.key}:parked-subjects:{consumer}"


def retry_key(partition: Partition, consumer: str) -> str:
    """The set of subjects, or `=` and a parked id, to be tried again."""
    return f"{partition.key}:retry:{consumer}"


def original(fields: dict[bytes, bytes]) -> RawEntry:
    """The entry as it was before it was parked."""
    return RawEntry(fields[b"parked_position"], [part for pair in _of_entry(fields) for part in pair])


def _of_entry(fields: dict[bytes, bytes]) -> list[tuple[bytes, bytes]]:
    return [(name.removeprefix(_THEIRS), value) for name, value in fields.items() if name not in _ABOUT]


def _parkable(entry: RawEntry, reason: str, consumer: str) -> tuple[str, Sequence[bytes]]:
    """The reason and the fields to park an entry with; if it has too many, those of an event come first.

    What no event can have because it is too long is kept whole by the log alone: the copies of all other consumers
    would fill Redis. They keep so much of it that it is too long all the same.
    """
    pairs = list(zip(entry.fields[::2], entry.fields[1::2], strict=True))
    if len(pairs) > _FIELDS_KEPT:
        pairs.sort(key=lambda pair: not pair[0].startswith((b"ce_", b"body")))
        reason = f"{reason}; {len(pairs) - _FIELDS_KEPT} of them are not kept here"
        pairs = pairs[:_FIELDS_KEPT]
    if consumer != LOG and any(len(name) > _KEPT or (name != b"body" and len(value) > _KEPT) for name, value in pairs):
        reason = f"{reason}; only the log's parked entry has all of it"
        pairs = [(name[:_KEPT], value if name == b"body" else value[:_KEPT]) for name, value in pairs]
    return reason, [part for pair in pairs for part in pair]
