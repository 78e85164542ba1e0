"""Overlap: a backup within what it is a backup of is lost with it."""

from playhead.backups.store import Store
from playhead.settings.core import DATA_DIR
from playhead.settings.settings import Settings, declared
from playhead.streams.errors import InvalidSetting
from playhead.streams.storage.objects import Objects


def refuse_overlap(settings: Settings, store: Store) -> None:
    """Refuse a backup within the data directory or a place of its own, or one of them within it, also by a link.

    Raises:
        InvalidSetting: names both.
    """
    named = [DATA_DIR.name, *(name for name, setting in declared().items() if setting.below is not None)]
    for name in named:
        location = str(settings.values[name])
        if _overlap(store, location):
            raise InvalidSetting(
                f"{store.location} and {name} ({location}) lie in each other: choose another target, on another disk"
            )


def _overlap(store: Store, location: str) -> bool:
    other = Objects(location).directory
    if store.directory is None or other is None:
        return _within(location, store.location) or _within(store.location, location)
    one, two = store.directory.resolve(), other.resolve()
    return one.is_relative_to(two) or two.is_relative_to(one)


def _within(inner: str, outer: str) -> bool:
    return "://" in inner and f"{inner.rstrip('/')}/".startswith(f"{outer.rstrip('/')}/")
