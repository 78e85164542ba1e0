"""Which records are of one organization: the rule is in docs/organizations.md."""

import hashlib
import re
from collections.abc import Iterable, Iterator
from itertools import product

import msgspec

from playhead.projections.organizations.places import NEAR, address_keys, cell, distance, folded, town
from playhead.projections.organizations.records import Record

_LEGAL = frozenset({"inc", "incorporated", "llc", "corp", "corporation", "ltd", "nfp", "npo"})
_OFFERS = tuple(
    tuple(words.split())
    for words in (
        "food pantry", "pantry", "food pantries", "choice pantry", "soup kitchen", "direct distribution", "dd", "dd2",
        "mobile market", "mobile pantry", "mobile food pantry", "produce market", "community meal", "community meals",
        "hot meal", "hot meals", "food shelf", "food cupboard", "program", "programs", "food program", "food",
        "fp", "s k", "sk",
    )
)  # fmt: skip
"""What an organization does, at the end of a name; one with several programs appears once with each."""
_WORDS = {
    "saint": "st", "sainte": "st", "mount": "mt", "fort": "ft", "centre": "center", "ctr": "center", "svcs": "services",
    "svc": "service", "comm": "community", "assn": "association", "assoc": "association", "cty": "county",
}  # fmt: skip
_PHRASES = (("united methodist church", "umc"), ("seventh day adventist", "sda"), ("united church of christ", "ucc"))
_PHONE_DIGITS = 10


class Profile(msgspec.Struct, frozen=True):
    """What the rule looks at; records with one profile are one node of the graph. `points` are degrees."""

    name: str
    short: str
    """The name without words in brackets."""
    scraper: str
    phones: tuple[str, ...]
    addresses: tuple[str, ...]
    towns: tuple[str, ...]
    points: tuple[tuple[float, float, bool], ...]
    """Latitude, longitude, and whether a street stands beside them."""

    @property
    def signature(self) -> str:
        return _hash(msgspec.json.encode(self).decode())

    def own_keys(self) -> list[str]:
        """Keys it is found by."""
        squares = {cell(latitude, longitude) for latitude, longitude, _ in self.points}
        return sorted({*self._exact(), *self._squares(squares)})

    def lookups(self) -> list[str]:
        """Keys that any record of the same organization has at least one of."""
        squares = {
            (row + down, column + right)
            for latitude, longitude, _ in self.points
            for (row, column) in [cell(latitude, longitude)]
            for down, right in product((-1, 0, 1), (-1, 0, 1))
        }
        return sorted({*self._exact(), *self._squares(squares)})

    def _exact(self) -> Iterator[str]:
        for kind, values in (("phone", self.phones), ("address", self.addresses)):
            for name, value in product(self._names, values):
                yield _hash(f"{name}\n{kind}\n{value}")
        for value in self.towns:
            yield _hash(f"{self.name}\ntown\n{self.scraper}\n{value}")
        if not self.addresses:
            yield _hash(f"{self.name}\nno street\n{self.scraper}")

    def _squares(self, squares: set[tuple[int, int]]) -> Iterator[str]:
        for name, (row, column) in product(self._names, squares):
            yield _hash(f"{name}\nsquare\n{row}\n{column}")

    @property
    def _names(self) -> set[str]:
        return {self.name, self.short}

    def has_name_of(self, other: "Profile") -> bool:
        """Whether a name of one is a name of the other."""
        return not {self.name, self.short}.isdisjoint((other.name, other.short))


def profile(record: Record, scraper: str | None) -> Profile:
    """Take from a record what the rule looks at."""
    locations = record.locations
    return Profile(
        name=name_key(record.name),
        short=name_key(re.sub(r"\([^)]*\)", " ", record.name)) or name_key(record.name),
        scraper=scraper or "",
        phones=tuple(sorted({key for phone in record.phones if (key := phone_key(phone.number))})),
        addresses=tuple(sorted({key for location in locations for key in address_keys(location)})),
        towns=tuple(sorted({key for location in locations if (key := town(location))})),
        points=tuple(
            sorted(
                {
                    (round(location.latitude, 5), round(location.longitude, 5), bool(address_keys(location)))
                    for location in locations
                    if location.latitude is not None and location.longitude is not None
                }
            )
        ),
    )


def same(one: Profile, other: Profile) -> bool:
    """Whether two profiles are directly of one organization; the answer depends on nothing else."""
    if not one.has_name_of(other):
        return False
    if not set(one.phones).isdisjoint(other.phones) or not set(one.addresses).isdisjoint(other.addresses):
        return True
    contradicted = bool(one.phones and other.phones)
    for here, there in product(one.points, other.points):
        street = here[2] and there[2]
        if (street or not contradicted) and distance(here[:2], there[:2]) <= NEAR:
            return True
    if one.scraper != other.scraper or one.name != other.name:
        return False
    if not set(one.towns).isdisjoint(other.towns):
        return not contradicted or not (one.addresses or other.addresses)
    return not (one.addresses or other.addresses or (one.towns and other.towns))


def name_key(name: str) -> str:
    """A name without case, accents, punctuation, article, legal form, and what is offered, if more remains."""
    whole = folded(name)
    for phrase, short in _PHRASES:
        whole = whole.replace(phrase, short)
    words = [_WORDS.get(word, word) for word in whole.split()]
    if words[:1] == ["the"] and len(words) > 1:
        words = words[1:]
    while len(words) > 1:
        if words[-1] in _LEGAL:
            words = words[:-1]
            continue
        offer = next(
            (offer for offer in _OFFERS if len(words) > len(offer) and tuple(words[-len(offer) :]) == offer), None
        )
        if offer is None:
            break
        words = words[: -len(offer)]
    return " ".join(words) or name.strip().casefold()


def phone_key(number: str) -> str | None:
    """The last ten digits; None if there are fewer, or all are alike."""
    digits = re.sub(r"\D", "", re.split(r"(?i)\b(?:x|ext)", number)[0])[-_PHONE_DIGITS:]
    return digits if len(digits) == _PHONE_DIGITS and len(set(digits)) > 1 else None


class Groups:
    """Disjoint sets of hashable members."""

    def __init__(self) -> None:
        self._parents: dict[str, str] = {}

    def root(self, member: str) -> str:
        """The member that stands for the set."""
        parents = self._parents
        parents.setdefault(member, member)
        while parents[member] != member:
            parents[member] = parents[parents[member]]
            member = parents[member]
        return member

    def join(self, one: str, other: str) -> None:
        """Make two sets one; which member stands for it does not depend on the order of calls."""
        low, high = sorted((self.root(one), self.root(other)))
        self._parents[high] = low

    def sets(self, members: Iterable[str]) -> list[list[str]]:
        """The members by set, all in sorted order."""
        found: dict[str, list[str]] = {}
        for member in sorted(members):
            found.setdefault(self.root(member), []).append(member)
        return list(found.values())


def _hash(words: str) -> str:
    return hashlib.blake2b(words.encode(), digest_size=16).hexdigest()
