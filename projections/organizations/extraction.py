"""Organizations found in data of any shape that a model gave it."""

import re
from collections.abc import Iterator
from typing import Any, cast

import msgspec

from playhead.projections.organizations.answers import REPAIR_READS, read_text
from playhead.projections.organizations.budget import Budget
from playhead.projections.organizations.places import place
from playhead.projections.organizations.records import Hours, Location, Phone, Record, Service
from playhead.projections.organizations.schedules import schedules
from playhead.projections.organizations.values import Object, first, objects, strings

ORGANIZATIONS = 2_000
PARTS = 200
HOURS = 1_000
"""Organizations that a result gives at most, and locations, services, phones, and lists of hours that one does."""

_DEPTH = 6
_WRAPPED = ("organizations", "organization")
_LOCATIONS = (
    "locations", "location", "addresses", "address", "location_address", "physical_address", "service_locations",
    "provided_by",
)  # fmt: skip
_SERVICES = ("services", "service", "programs", "service_sections")
_PHONES = ("phones", "phone", "phone_numbers", "phone_number", "contact_phones", "telecoms")
_CONTACTS = ("contacts", "contact", "contact_info", "contact_points")
_HOURS = (
    "schedules", "schedule", "regular_schedule", "regular_schedules", "hours", "operating_hours", "opening_hours",
    "hours_of_operation", "open_hours", "events", "service_delivery", "service_schedule", "holiday_schedules",
)  # fmt: skip
_SIGNS = frozenset(
    {*_LOCATIONS, *_SERVICES, *_PHONES, *_CONTACTS, "description", "alternate_names", "email", "website"}
)
"""A name beside one of these is an organization's."""
_PARTS = frozenset({*_LOCATIONS, *_SERVICES, *_PHONES, *_CONTACTS, *_HOURS, "metadata"})
_ANSWERS = frozenset({"text", "content", "result", "response", "output", "answer", "message"})
"""Members that hold what a model wrote, if a result is its provider's answer."""
_DIGITS = 7
_ORDINAL = re.compile(r"(\d+)$")


def organizations(value: object) -> list[Record]:
    """Read every organization in the data; empty if there is none."""
    found: list[Record] = []
    for members in _bundles(value, _DEPTH, Budget(REPAIR_READS)):
        for record in _bundle(members):
            found.append(record)
            if len(found) >= ORGANIZATIONS:
                return found
    return found


def _bundles(value: object, depth: int, budget: Budget) -> Iterator[Object]:
    """Objects that hold organizations or are one, the outermost first."""
    if isinstance(value, list) and depth:
        for item in cast("list[object]", value):
            yield from _bundles(item, depth - 1, budget)
    elif isinstance(value, dict):
        members = cast("Object", value)
        if any(next(objects(members.get(name)), None) is not None for name in _WRAPPED) or _is_organization(members):
            yield members
            return
        for name, inner in members.items() if depth else ():
            if isinstance(inner, str) and name in _ANSWERS:
                yield from _bundles(read_text(inner, budget).value, 1, budget)
            elif isinstance(inner, dict | list) and name not in _PARTS:
                yield from _bundles(cast("object", inner), depth - 1, budget)


def _is_organization(members: Object) -> bool:
    return first(members, "name", "organization_name") is not None and not _SIGNS.isdisjoint(members)


def _bundle(members: Object) -> Iterator[Record]:
    wrapped = [one for name in _WRAPPED for one in objects(members.get(name))]
    if not wrapped:
        yield from _record(members, {}, {})
        return
    local = {identity: index for index, one in reversed(list(enumerate(wrapped))) for identity in _identities(one)}
    for index, one in enumerate(wrapped):
        beside: dict[str, Any] = {
            name: [part for part in objects(members.get(name)) if _owner(part, local, len(wrapped)) in {index, None}]
            for name in (*_LOCATIONS, *_SERVICES, *_PHONES, *_CONTACTS, *_HOURS, "locations_coordinates")
        }
        referred = _referred([one, *(service for name in _SERVICES for service in beside[name])])
        for name in ("locations", "addresses"):
            beside[name] += [
                part
                for part in objects(members.get(name))
                if part not in beside[name] and not referred.isdisjoint(_identities(part))
            ]
        for name in (*_PHONES, *_HOURS):
            if len(wrapped) == 1 and isinstance(members.get(name), str):
                beside[name] = members[name]
        yield from _record(one, beside, members if len(wrapped) == 1 else {})


def _owner(part: Object, local: dict[str, int], count: int) -> int | None:
    """Which of several organizations a part beside them belongs to; None is every one, -1 none of them."""
    if count == 1:
        return None
    named = first(part, "organization_id", "org_id")
    if named is None:
        return -1
    if named in local:
        return local[named]
    ordinal = _ORDINAL.search(named)
    return int(ordinal[1][-4:]) - 1 if ordinal and not local else -1


def _referred(parts: list[Object]) -> set[str]:
    """Local ids of locations that an organization and its services name."""
    found = {one for part in parts for name in ("location_id", "location_ids") for one in strings(part.get(name))}
    inner = [one for part in parts for name in (*_LOCATIONS, *_HOURS) for one in objects(part.get(name))]
    return found | {one for part in inner for one in (first(part, "location_id"), first(part, "id")) if one}


def _record(members: Object, beside: Object, around: Object) -> Iterator[Record]:
    name = first(members, "name", "organization_name", "legal_name")
    if name is None:
        return
    builder = _Builder()
    builder.organization(members)
    builder.parts(beside)
    year = first(members, "year_incorporated") or ""
    alternate = next((a for a in _alternates(members) if a != name), None)
    yield Record(
        name=name,
        alternate_name=alternate,
        description=first(members, "description", "organization_description", "descriptions")
        or first(around, "organization_description"),
        email=_with("@", first(members, "email", "emails", "email_addresses")),
        website=_with(".", first(members, "website", "url", "websites", "urls")),
        legal_status=first(members, "legal_status"),
        year_incorporated=int(year) if re.fullmatch(r"[12]\d{3}", year) else None,
        **builder.build(),
    )


def _alternates(members: Object) -> Iterator[str]:
    for name in ("alternate_name", "alternate_names", "nickname", "aliases", "AlternateNames", "acronym"):
        found = first(members, name)
        if found:
            yield found


def _with(mark: str, value: str | None) -> str | None:
    return value if value and mark in value else None


def _identities(members: Object) -> list[str]:
    found = [first(members, "id", "oid", "location_id")]
    found += [first(inner, "id", "org_id", "loc_id") for inner in objects(members.get("metadata"))]
    return [one for one in found if one]


class _Builder:
    """Collects the parts of one organization; a part that only names another by its local id refers to it."""

    def __init__(self) -> None:
        self._locations: list[Location] = []
        self._local: dict[str, int] = {}
        self._services: list[tuple[Object, list[int], list[str]]] = []
        self._phones: dict[tuple[str, str | None], Phone] = {}
        self._hours: list[tuple[object, int | None, int | None, str | None]] = []

    def organization(self, members: Object) -> None:
        """Take an organization's parts, and, if it says so itself, where it is."""
        self.parts(members)
        own = msgspec.structs.replace(place(members, inner=False), name=None, description=None)
        if own.address_1 is None and own.latitude is not None and len(self._locations) == 1:
            self._point(0, own)
        elif own.address_1 or own.city or own.postal_code or own.latitude is not None:
            self._add(own, members)

    def parts(self, members: Object) -> None:
        """Take the locations, services, phones and hours that are members of an object."""
        for part in self._located(members):
            self._location(part, None)
        for part in objects(members.get("locations_coordinates")):
            self._coordinates(part)
        for name in _SERVICES:
            for part in objects(members.get(name)):
                self._service(part, None)
        self._contact(members, None, None, 3)
        self._open(members, None, None)

    def build(self) -> dict[str, Any]:
        only = 0 if len(self._locations) == 1 else None
        services: list[Service] = []
        for members, indexes, names in self._services:
            at = dict.fromkeys([*indexes, *(self._local[name] for name in names if name in self._local)])
            if not at and only is not None:
                at = {only: None}
            services.append(_service(members, tuple(at)))
        hours: list[Hours] = []
        for value, location, service, named in self._hours:
            for part in cast("list[object]", value) if isinstance(value, list) else [value]:
                if len(hours) < HOURS:
                    hours += self._placed(part, location, service, named, services)
        return {
            "locations": tuple(self._locations),
            "services": tuple(services),
            "phones": tuple(self._phones.values()),
            "hours": tuple(hours),
        }

    def _placed(
        self, value: object, location: int | None, service: int | None, named: str | None, services: list[Service]
    ) -> Iterator[Hours]:
        members = next(objects(value), None)
        local = first(members, "location_id") if members else None
        local = local or named
        at = self._local.get(local) if local else None
        if at is None:
            at = location
        if at is None and service is not None and len(services[service].locations) == 1:
            at = services[service].locations[0]
        if at is None and len(self._locations) == 1:
            at = 0
        found = schedules(value)
        if found:
            yield Hours(tuple(found), at, service)

    def _located(self, members: Object) -> Iterator[Object]:
        for name in _LOCATIONS:
            value = members.get(name)
            if isinstance(value, str) and name in {"address", "location_address", "physical_address"}:
                yield {"address": value}
            else:
                yield from objects(value)

    def _location(self, members: Object, service: int | None) -> int | None:
        found = place(members)
        identities = _identities(members)
        index = None
        if found.address_1 is None and found.latitude is None and identities:
            index = next((self._local[one] for one in identities if one in self._local), None)
        if index is None and (found.address_1 or found.city or found.postal_code or found.latitude is not None):
            index = self._add(found, members)
        named = identities[0] if identities else None
        if service is None:
            inner = [one for name in _SERVICES for one in objects(members.get(name))]
            for one in inner:
                self._service(one, index)
            for one in objects(members.get("addresses")) if not found.address_1 and index is None else ():
                self._location(one, None)
        self._contact(members, index, service, 2)
        self._open(members, index, service, named)
        return index

    def _add(self, location: Location, members: Object) -> int | None:
        if location in self._locations:
            index = self._locations.index(location)
        elif len(self._locations) >= PARTS:
            return None
        else:
            index = len(self._locations)
            self._locations.append(location)
        for identity in [
            *_identities(members),
            *(i for one in objects(members.get("addresses")) for i in _identities(one)),
        ]:
            self._local.setdefault(identity, index)
        return index

    def _coordinates(self, part: Object) -> None:
        found = place(part)
        index = next((self._local[one] for one in _identities(part) if one in self._local), None)
        if index is None:
            if found.latitude is not None:
                self._add(found, part)
        else:
            self._point(index, found)

    def _point(self, index: int, found: Location) -> None:
        standing = self._locations[index]
        if standing.latitude is None:
            self._locations[index] = msgspec.structs.replace(
                standing, latitude=found.latitude, longitude=found.longitude
            )

    def _service(self, members: Object, location: int | None) -> None:
        if len(self._services) >= PARTS:
            return
        number = len(self._services)
        indexes = [] if location is None else [location]
        names = [*strings(members.get("location_id")), *strings(members.get("location_ids"))]
        names += [one for name in ("locations", "location") for one in strings(members.get(name))]
        self._services.append((members, indexes, names))
        for part in self._located(members):
            index = self._location(part, number)
            if index is not None:
                indexes.append(index)
            else:
                names += _identities(part)
        for one in (one for name in ("service_sections", "programs") for one in objects(members.get(name))):
            self._service(one, location)
        self._contact(members, location, number, 2)
        self._open(members, location, number, names[0] if len(names) == 1 else None)

    def _open(self, members: Object, location: int | None, service: int | None, named: str | None = None) -> None:
        for name in _HOURS:
            value = members.get(name)
            if value:
                self._hours.append((value, location, service, named))

    def _contact(self, members: Object, location: int | None, service: int | None, depth: int) -> None:
        for name in _PHONES:
            value = members.get(name)
            for number in strings(value):
                self._phone(number, {}, location, service)
            for part in objects(value):
                number = first(part, "number", "phone_number", "value", "phone")
                if number:
                    self._phone(number, part, location, service)
        for part in (one for name in _CONTACTS for one in objects(members.get(name)) if depth):
            number = first(part, "number")
            if number:
                self._phone(number, part, location, service)
            self._contact(part, location, service, depth - 1)

    def _phone(self, number: str, members: Object, location: int | None, service: int | None) -> None:
        if sum(character.isdigit() for character in number) < _DIGITS or len(self._phones) >= PARTS:
            return
        extension = first(members, "extension", "ext")
        kind = first(members, "type", "phone_type")
        phone = Phone(number[:100], extension, kind, first(members, "description"), location, service)
        self._phones.setdefault((number, extension), phone)


def _service(members: Object, locations: tuple[int, ...]) -> Service:
    return Service(
        name=first(members, "name", "service_name"),
        service_type=first(members, "service_type", "service_category", "type", "category", "service_types"),
        description=first(members, "description"),
        url=_with(".", first(members, "url", "urls")),
        email=_with("@", first(members, "email", "emails", "email_addresses")),
        status=first(members, "status", "service_status"),
        eligibility_description=first(members, "eligibility_description", "eligibility"),
        fees_description=first(members, "fees_description", "fees"),
        application_process=first(members, "application_process"),
        locations=locations,
    )
