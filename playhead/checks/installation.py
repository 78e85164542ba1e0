"""Whether everything that the settings name belongs to one installation."""

from collections.abc import Iterator, Sequence
from contextlib import suppress

import psycopg
from redis.exceptions import RedisError

from playhead.checks.check import Check
from playhead.streams.errors import StoreUnavailable
from playhead.streams.installation import Mark, Standing

_AWAY = (StoreUnavailable, RedisError, psycopg.Error, OSError)
"""Another check says what is away."""


def check_installation(places: Sequence[Mark]) -> Iterator[Check]:
    """Compare the ids of places; the first one that has one gives it."""
    read = list(_read(places))
    found = [Standing(place.title, installation) for place, installation in read if installation is not None]
    if not found:
        yield Check("installation", "ok", "no id yet: the log writer makes it")
        return
    first, strangers = found[0], [one for one in found if one.installation != found[0].installation]
    for one in strangers:
        yield Check(
            "installation",
            "fail",
            f"{one.place} belongs to {one.installation}, but {first.place} to {first.installation}",
            "correct the setting that names the wrong one; if both are right, see `playhead adopt --help`",
        )
    if not strangers:
        bare = [place.title for place, installation in read if installation is None]
        note = f"; a consumer that starts will write it to {', '.join(bare)}" if bare else ""
        yield Check("installation", "ok", first.installation + note)


def _read(places: Sequence[Mark]) -> Iterator[tuple[Mark, str | None]]:
    for place in places:
        with suppress(*_AWAY):
            yield place, place.read()
