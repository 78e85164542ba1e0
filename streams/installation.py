"""The identity of an installation: one id, made once, that its Redis, log, database, directories and buckets carry.

A Redis, database or directory of another installation is refused: its positions are those of other events, so what is
appended would be taken for applied. Why and where: docs/decisions/0020-identity-of-an-installation.md.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol, cast

import msgspec
import uuid_utils
from redis import Redis, RedisCluster

from playhead.streams.errors import ForeignPlace, StoreUnavailable
from playhead.streams.names import INSTALLATION
from playhead.streams.storage.objects import Objects

MARK = ".playhead-installation"
"""The file, or object, with the id."""


class Mark(Protocol):
    """Where the id stands in one place, which `title` names for people."""

    title: str

    def read(self) -> str | None:
        """The id, None if the place has none yet."""
        ...

    def write(self, installation: str) -> None:
        """Give the place an id, whatever it has."""
        ...


class RedisMark:
    """The id in Redis; whoever sets it first decides."""

    title = "Redis"

    def __init__(self, client: "Redis | RedisCluster") -> None:
        self._client = cast("Any", client)

    def read(self) -> str | None:
        """The id, None if this Redis has none."""
        found = self._client.get(INSTALLATION)
        return None if found is None else found.decode("ascii", "replace")

    def write(self, installation: str) -> None:
        """Set it, whatever stands there."""
        self._client.set(INSTALLATION, installation)

    def settle(self, installation: str) -> str:
        """Set it if this Redis has none, and give the one that stands."""
        self._client.set(INSTALLATION, installation, nx=True)
        return self.read() or installation


class PlaceMark:
    """The id in a directory or bucket; `name` is what messages call it, together with its location."""

    def __init__(self, name: str, location: Path | str) -> None:
        self._objects = Objects(location)
        self.title = f"{name} {self._objects.location}"

    @property
    def directory(self) -> Path | None:
        """The directory, None for a bucket."""
        return self._objects.directory

    def read(self) -> str | None:
        """The id, None if the place has none or is not there.

        Raises:
            StoreUnavailable: the place cannot be read now.
        """
        if self.directory is not None and not self.directory.is_dir():
            return None
        found = self._objects.get(MARK)
        return None if found is None else found.decode("ascii", "replace").strip()

    def write(self, installation: str) -> None:
        """Write it, over any other.

        Raises:
            StoreUnavailable: the place cannot be written now.
        """
        self._objects.prepare()
        self._objects.put(MARK, f"{installation}\n".encode())


class Standing(msgspec.Struct, frozen=True):
    """The id that a place has."""

    place: str
    installation: str


def new_installation() -> str:
    """Make an id that no other installation has."""
    return str(uuid_utils.uuid7())


def claim(redis: RedisMark, own: Sequence[Mark], beside: Sequence[Mark] = (), *, makes: bool = False) -> str | None:
    """Have each place carry the id of this installation, and give it; None if nobody has made one yet.

    `own` are the places of this process; those `beside` them are compared too, and get the id if they can be written.
    `makes` lets this process make the id: that of the log does. A Redis that was emptied takes the id of the places.

    Raises:
        ForeignPlace: a place belongs to another installation; nothing was changed in any.
        StoreUnavailable: a place of its own cannot be read or written now.
    """
    found = [(place, place.read()) for place in own] + list(_readable(beside))
    known = [Standing(place.title, id_) for place, id_ in found if id_ is not None]
    if (standing := redis.read()) is not None:
        known.insert(0, Standing(redis.title, standing))
    if not known and not makes:
        return None
    first = known[0] if known else Standing("this process", new_installation())
    for other in known[1:]:
        _refuse_unlike(first, other)
    _refuse_unlike(first, Standing(redis.title, redis.settle(first.installation)))
    for place, id_ in found:
        if id_ is None:
            with suppress(*(() if place in own else (StoreUnavailable,))):
                place.write(first.installation)
    return first.installation


def _readable(places: Sequence[Mark]) -> Iterator[tuple[Mark, str | None]]:
    for place in places:
        with suppress(StoreUnavailable):
            yield place, place.read()


def _refuse_unlike(one: Standing, other: Standing) -> None:
    if one.installation != other.installation:
        raise ForeignPlace(other.place, other.installation, one.place, one.installation)
