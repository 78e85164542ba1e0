"""Values as models write them, brought into one form: text, members under several names, coordinates."""

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, cast

TEXT_LIMIT = 10_000
"""Characters that a field keeps; the event log has the rest."""

Object = Mapping[str, Any]

_SPACE = re.compile(r"[\s\0]+")
_EMPTY = frozenset(
    {"", "null", "none", "n/a", "na", "unknown", "not provided", "not specified", "not available", "tbd"}
)
_LONGEST = max(map(len, _EMPTY))
_NUMBER = 10**20
_LATITUDE, _LONGITUDE = 90.0, 180.0
_PAIR = 2


def text(value: object) -> str | None:
    """A string or number as one line of Unicode text, None if it says nothing."""
    if not isinstance(value, str):
        if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > _NUMBER:
            return None
        return None if value != value else str(value)  # noqa: PLR0124  # NaN alone differs from itself
    line = _SPACE.sub(" ", value[: TEXT_LIMIT + 1]).strip()[:TEXT_LIMIT]
    if len(line) <= _LONGEST and line.lower() in _EMPTY:
        return None
    return line if line.isascii() else line.encode("utf-8", "replace").decode()


def first(members: Object, *names: str) -> str | None:
    """The text of the first member that has any; of a list, that of its first item; of an object, its value or text."""
    for name in names:
        value = members.get(name)
        if value is None:
            continue
        for scalar in _scalars(cast("object", value)):
            found = text(scalar)
            if found is not None:
                return found
    return None


def objects(value: object) -> Iterator[Object]:
    """An object, or the objects of a list, lists in it included."""
    if isinstance(value, dict):
        yield cast("Object", value)
    elif isinstance(value, list):
        for item in cast("list[object]", value):
            if isinstance(item, dict):
                yield cast("Object", item)
            elif isinstance(item, list):
                yield from (one for one in cast("list[object]", item) if isinstance(one, dict))


def strings(value: object) -> Iterator[str]:
    """A string, or the strings of a list."""
    for item in cast("list[object]", value) if isinstance(value, list) else [value]:
        if isinstance(item, str | int) and (found := text(item)) is not None:
            yield found


def coordinates(members: Object) -> tuple[float, float] | None:
    """Latitude and longitude in degrees, if both are there and can be true."""
    latitude = _number(members, "latitude", "lat")
    longitude = _number(members, "longitude", "lng", "lon", "long")
    if latitude is not None and longitude is not None:
        return _checked(latitude, longitude)
    for name in ("coordinates", "geo", "geo_location", "geo_code", "geometry", "geolocation"):
        value = members.get(name)
        for found in objects(value):
            pair = coordinates(found)
            if pair is not None:
                return pair
        if isinstance(value, list):
            pair = _pair(cast("list[object]", value), geojson=members.get("type") == "Point")
            if pair is not None:
                return pair
    return None


def _pair(values: list[object], *, geojson: bool) -> tuple[float, float] | None:
    one, other = [*map(_float, values[:_PAIR]), None, None][:_PAIR]
    if one is None or other is None:
        return None
    return _checked(other, one) if geojson or abs(one) > _LATITUDE else _checked(one, other)


def _checked(latitude: float, longitude: float) -> tuple[float, float] | None:
    if not (abs(latitude) <= _LATITUDE and abs(longitude) <= _LONGITUDE) or latitude == longitude == 0:
        return None
    return latitude, longitude


def _number(members: Object, *names: str) -> float | None:
    return next((found for name in names if (found := _float(members.get(name))) is not None), None)


def _float(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _scalars(value: object) -> Iterator[object]:
    if isinstance(value, list):
        for item in cast("list[object]", value)[:10]:
            yield from _scalars(cast("object", item)) if isinstance(item, dict) else (item,)
    elif isinstance(value, dict):
        members = cast("Object", value)
        for name in ("value", "text", "name", "url", "address", "email", "description"):
            if isinstance(members.get(name), str | int | float):
                yield members[name]
    else:
        yield value
