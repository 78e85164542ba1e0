"""An address or location as models write it, and the keys by which two of them are the same place."""

import math
import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

from playhead.projections.organizations.records import Location
from playhead.projections.organizations.values import Object, coordinates, first, objects, strings, text

NEAR = 250.0
"""Meters within which two places of one name are one."""

_STREET = (
    "address_1", "street_address_1", "street_address", "street", "street1", "street_1", "line1", "address1",
    "address_line_1", "address_line1",
)  # fmt: skip
_STREET_2 = (
    "address_2", "street_address_2", "street2", "street_2", "line2", "address2", "address_line_2", "unit", "suite",
)  # fmt: skip
_CITY = ("city", "locality", "town")
_STATE = ("state_province", "state", "region", "state_province_code", "state_code")
_POSTAL = ("postal_code", "zip", "zip_code", "zipcode", "postcode")
_WHOLE = re.compile(r"^(.+?),\s*([^,\d]+?),?\s+([A-Z]{2})\b\.?,?\s*(\d{5}(?:-\d{4})?)?(?:,?\s*(?:US|USA))?$")
_WORD = re.compile(r"[a-z0-9]+")
_NUMBER = re.compile(r"\d+[a-z]?$")
_UNIT = re.compile(r"\b(?:suite|ste|apt|apartment|unit|room|rm|floor|fl|bldg|building)\b\.?\s*#?\s*\w+|#\s*\w+")
_DIRECTIONS = frozenset(
    {"n", "s", "e", "w", "ne", "nw", "se", "sw", "north", "south", "east", "west", "northeast", "northwest"}
    | {"southeast", "southwest"}
)
_SYNONYMS = {
    "saint": "st", "mount": "mt", "fort": "ft", "first": "1st", "second": "2nd", "third": "3rd", "fourth": "4th",
    "fifth": "5th", "sixth": "6th", "seventh": "7th", "eighth": "8th", "ninth": "9th", "tenth": "10th",
    "martin": "mlk", "doctor": "dr",
}  # fmt: skip
_ROUTE = re.compile(
    r"\b(?:state\s+(?:route|rte|rt|road|highway|hwy)|st\s+(?:rt|rte)|s\s?r|(?:oh|ny|nj|pa|us)(?=\s*-?\s*\d))\b"
)
_PHONE = re.compile(r"[\s+()]*(?:1[\s.-]*)?\d{3}\W*\d{3}\W*\d{4}\W*")
"""A telephone number, which models put in the place of a street they do not know."""
_EARTH = 6_371_008.8
_POSTAL_LENGTH = 5


def place(members: Object, *, inner: bool = True) -> Location:
    """Read a location: its own members, then those of the address in it unless `inner` is false."""
    parts = [members]
    for name in ("address", "addresses", "address_details", "location_address", "physical_address") if inner else ():
        parts += list(objects(members.get(name)))[:1]
    pair = next((found for part in parts for found in [coordinates(part)] if found), None)
    street = _first(parts, *_STREET)
    lines = [line for part in parts for line in strings(part.get("address_lines"))]
    address: dict[str, str | None] = {}
    whole = text(members.get("address")) if inner else None
    if street is None and whole:
        address = _whole(whole)
    return Location(
        name=first(members, "name", "location_name"),
        location_type=_type(members),
        description=first(members, "description"),
        address_1=street or (lines[0] if lines else None) or address.get("address_1"),
        address_2=_first(parts, *_STREET_2) or (lines[1] if len(lines) > 1 else None),
        city=_first(parts, *_CITY) or address.get("city"),
        state_province=_first(parts, *_STATE) or address.get("state_province"),
        postal_code=_first(parts, *_POSTAL) or address.get("postal_code"),
        country=_first(parts, "country", "country_code"),
        latitude=pair[0] if pair else None,
        longitude=pair[1] if pair else None,
    )


@lru_cache(maxsize=4096)
def address_keys(location: Location) -> tuple[str, ...]:
    """Keys of a street address: house number and street name, with the postal code and with the town.

    Direction, kind of street and unit are left out, as sources differ in them most.
    """
    street = _street(location.address_1)
    if street is None:
        return ()
    keys: list[str] = []
    postal = _postal(location.postal_code)
    town = folded(location.city or "")
    state = folded(location.state_province or "")
    if postal:
        keys.append(f"{street}|{postal}")
    if town:
        keys.append(f"{street}|{town}|{state}")
    return tuple(keys) or (f"{street}|{state}",)


def town(location: Location) -> str | None:
    """Town and state, if the town is known."""
    city = folded(location.city or "")
    return f"{city}|{folded(location.state_province or '')}" if city else None


def region(location: Location) -> str:
    """Where a place without a street is, as far as is known."""
    return f"{_postal(location.postal_code)}|{folded(location.city or '')}|{folded(location.state_province or '')}"


def cell(latitude: float, longitude: float) -> tuple[int, int]:
    """A square of the grid whose neighbors hold everything within `NEAR`; wider than that toward the poles."""
    return math.floor(latitude * 400), math.floor(longitude * 200)


def distance(one: tuple[float, float], other: tuple[float, float]) -> float:
    """Meters between two points on the sphere, by the haversine formula."""
    a, b, c, d = map(math.radians, (*one, *other))
    root = math.sin((c - a) / 2) ** 2 + math.cos(a) * math.cos(c) * math.sin((d - b) / 2) ** 2
    return 2 * _EARTH * math.asin(min(1.0, math.sqrt(root)))


def folded(words: str) -> str:
    """Lower case letters and digits without accents, words apart by one space."""
    plain = words.casefold()
    if not plain.isascii():
        letters = unicodedata.normalize("NFKD", plain).replace("\u2019", "")
        plain = "".join(letter for letter in letters if not unicodedata.combining(letter)).casefold()
    return " ".join(_WORD.findall(plain.replace("'", "").replace("&", " and ")))


def _street(words: str | None) -> str | None:
    """House number and the first word of the street; a street without number is all its words."""
    if words is None or _PHONE.fullmatch(words):
        return None
    plain = _ROUTE.sub("rt", _UNIT.sub(" ", words.lower().replace(".", "")))
    found = folded(plain).split()
    if not found:
        return None
    if found[:2] == ["p", "o"] or found[0] == "pobox":
        return "po " + " ".join(found[-1:])
    numbers = [index for index, word in enumerate(found[:-1]) if _NUMBER.match(word)]
    if not numbers:
        return " ".join(found)
    rest = [_SYNONYMS.get(word, word) for word in found[numbers[0] + 1 :] if word not in _DIRECTIONS]
    name = rest[:2] if rest[:1] in (["rt"], ["st"], ["mt"], ["ft"], ["county"], ["mlk"], ["dr"]) else rest[:1]
    return " ".join([found[numbers[0]], *(name or found[numbers[0] + 1 :][:1])])


def _postal(words: str | None) -> str:
    return re.sub(r"[^0-9a-z]", "", (words or "").lower())[:_POSTAL_LENGTH]


def _whole(words: str) -> dict[str, str | None]:
    """Split "12 Main St, Columbus, OH 43215"; anything else is the street."""
    found = _WHOLE.match(words)
    if found is None:
        return {"address_1": words}
    return {"address_1": found[1], "city": found[2], "state_province": found[3], "postal_code": found[4]}


def _type(members: Object) -> str | None:
    kind = first(members, "location_type", "address_type", "type")
    return kind.lower() if kind and kind.lower() in {"physical", "postal", "virtual"} else None


def _first(parts: list[Object], *names: str) -> str | None:
    return next(iter(_each(parts, names)), None)


def _each(parts: list[Object], names: tuple[str, ...]) -> Iterator[str]:
    for part in parts:
        found = first(part, *names)
        if found is not None:
            yield found
