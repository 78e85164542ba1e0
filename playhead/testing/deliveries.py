"""The ways in which events reach a projection, all of which must end in the same rows or files."""

import random
from collections.abc import Sequence
from itertools import groupby
from typing import Literal, TypeVar, get_args

from playhead.streams.events import Event

Delivery = Literal["once", "one by one", "twice", "reordered", "killed", "replayed"]
"""How events are delivered.

- `once`: together, in their order.
- `one by one`: each in a batch of its own.
- `twice`: each batch again as soon as it is applied.
- `reordered`: as if subjects had been appended in another order among one another; each subject keeps its own.
- `killed`: each batch by processes that are killed in the middle of it, then between effect and checkpoint, and by one
  that lives.
- `replayed`: once, then every event since the beginning in a replay.
"""
DELIVERIES: tuple[Delivery, ...] = get_args(Delivery)

_Item = TypeVar("_Item")
_LONGEST = 4


def reordered(events: Sequence[Event], seed: int) -> list[Event]:
    """Interleave the subjects in another way."""
    chance = random.Random(seed)
    waiting: dict[str, list[Event]] = {}
    for event in events:
        waiting.setdefault(event.subject, []).append(event)
    found: list[Event] = []
    while waiting:
        subject = chance.choice(list(waiting))
        found.append(waiting[subject].pop(0))
        if not waiting[subject]:
            del waiting[subject]
    return found


def split(items: Sequence[_Item], seed: int) -> list[Sequence[_Item]]:
    """Cut a sequence into parts of some random lengths."""
    chance = random.Random(seed)
    parts: list[Sequence[_Item]] = []
    start = 0
    while start < len(items):
        end = start + chance.randint(1, _LONGEST)
        parts.append(items[start:end])
        start = end
    return parts


def runs_of(items: Sequence[tuple[str, _Item]]) -> list[tuple[str, list[_Item]]]:
    """Put neighbors of one stream together: a batch is of one partition."""
    return [(stream, [item for _, item in run]) for stream, run in groupby(items, key=lambda pair: pair[0])]
