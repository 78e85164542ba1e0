"""The rows of one organization, from everything its sources say: the newest value that is not empty stands."""

import uuid
from collections.abc import Iterable, Sequence

import msgspec

from playhead.projections.organizations.matching import Groups, phone_key
from playhead.projections.organizations.places import address_keys, folded, region, town
from playhead.projections.organizations.records import Location, Phone, Record, Service
from playhead.projections.organizations.schedules import Schedule

NEWEST = 100
"""Sources of an organization that its rows are made of."""

_NAMESPACE = uuid.UUID("0a7c1f2e-3c5d-5b8e-9d41-5f0b6a1f7d63")
_ANY = "any town"
_GENERIC = ("services", "service", "program", "programs")


class Source(msgspec.Struct, frozen=True):
    """One record and where it came from; `recorded_at` is RFC 3339."""

    record: Record
    job_id: str
    scraper_id: str | None
    recorded_at: str


Row = dict[str, object]


class Rows(msgspec.Struct, frozen=True):
    """Rows by table."""

    organizations: list[Row] = []
    locations: list[Row] = []
    services: list[Row] = []
    phones: list[Row] = []
    schedules: list[Row] = []


def organization_id(job_id: str, label: str) -> str:
    """The id of an organization whose oldest source is this one."""
    return str(uuid.uuid5(_NAMESPACE, f"{job_id}\n{label}"))


def rows(identity: str, sources: Sequence[Source]) -> Rows:
    """Make the rows of an organization; sources come newest first."""
    return _Fold(identity, sources).rows()


class _Fold:
    def __init__(self, identity: str, sources: Sequence[Source]) -> None:
        self._identity = identity
        self._sources = sources
        self._location_keys = _location_keys([location for source in sources for location in source.record.locations])

    def rows(self) -> Rows:
        return Rows([self._organization()], self._locations(), self._services(), self._phones(), self._schedules())

    def _organization(self) -> Row:
        records = [source.record for source in self._sources]
        name = records[0].name
        others = (one for record in records for one in (record.alternate_name, record.name))
        row: Row = {"id": self._identity, "name": name}
        row["alternate_name"] = next((one for one in others if one and folded(one) != folded(name)), None)
        for field in ("description", "email", "website", "legal_status", "year_incorporated"):
            row[field] = _newest(records, field)
        return row | _origin(self._sources[0])

    def _locations(self) -> list[Row]:
        found: dict[str, list[tuple[Location, Source]]] = {}
        for source in self._sources:
            for location in source.record.locations:
                found.setdefault(self._location_keys[location], []).append((location, source))
        made: list[Row] = []
        for key, members in found.items():
            by_street = sorted((location for location, _ in members), key=lambda location: not address_keys(location))
            row: Row = {"id": self._id("location", key), "organization_id": self._identity}
            for field in Location.__struct_fields__:
                row[field] = _newest(by_street, field)
            placed = next((location for location in by_street if location.latitude is not None), None)
            row |= {"latitude": placed and placed.latitude, "longitude": placed and placed.longitude}
            made.append(row | _origin(members[0][1]))
        return made

    def _services(self) -> list[Row]:
        found: dict[str, list[tuple[Service, Source]]] = {}
        for source in self._sources:
            for service in source.record.services:
                found.setdefault(_service_key(service), []).append((service, source))
        made: list[Row] = []
        for key, members in found.items():
            services = [service for service, _ in members]
            row: Row = {"id": self._id("service", key), "organization_id": self._identity}
            for field in Service.__struct_fields__:
                if field != "locations":
                    row[field] = _newest(services, field)
            at = {self._location(source.record, index) for service, source in members for index in service.locations}
            row["location_ids"] = sorted(one for one in at if one)
            made.append(row | _origin(members[0][1]))
        return made

    def _phones(self) -> list[Row]:
        found: dict[str, list[tuple[Phone, Source]]] = {}
        for source in self._sources:
            for phone in source.record.phones:
                key = f"{phone_key(phone.number) or folded(phone.number)}\n{phone.extension or ''}"
                found.setdefault(key, []).append((phone, source))
        made: list[Row] = []
        for key, members in found.items():
            phones = [phone for phone, _ in members]
            made.append(
                {
                    "id": self._id("phone", key),
                    "organization_id": self._identity,
                    "location_id": _first(self._location(source.record, phone.location) for phone, source in members),
                    "service_id": _first(self._service(source.record, phone.service) for phone, source in members),
                    "number": phones[0].number,
                    "extension": phones[0].extension,
                    "type": _newest(phones, "type"),
                    "description": _newest(phones, "description"),
                }
                | _origin(members[0][1])
            )
        return made

    def _schedules(self) -> list[Row]:
        """The hours of a service at a location are one value: the newest list stands, whole."""
        found: dict[tuple[str | None, str | None], tuple[dict[Schedule, None], Source]] = {}
        for source in self._sources:
            for hours in source.record.hours:
                service = hours.service
                if service is None and len(source.record.services) == 1:
                    service = 0
                pair = self._service(source.record, service), self._location(source.record, hours.location)
                lines, newest = found.setdefault(pair, ({}, source))
                if newest is source:
                    lines |= dict.fromkeys(hours.schedules)
        made: list[Row] = []
        for (service, location), (lines, source) in found.items():
            for line in lines:
                key = f"{service}\n{location}\n{msgspec.json.encode(line).decode()}"
                row: Row = {"id": self._id("schedule", key), "organization_id": self._identity}
                made.append(
                    row
                    | {"service_id": service, "location_id": location}
                    | msgspec.structs.asdict(line)
                    | _origin(source)
                )
        return made

    def _location(self, record: Record, index: int | None) -> str | None:
        if index is None or index >= len(record.locations):
            return None
        return self._id("location", self._location_keys[record.locations[index]])

    def _service(self, record: Record, index: int | None) -> str | None:
        if index is None or index >= len(record.services):
            return None
        return self._id("service", _service_key(record.services[index]))

    def _id(self, kind: str, key: str) -> str:
        return str(uuid.uuid5(_NAMESPACE, f"{self._identity}\n{kind}\n{key}"))


def _location_keys(locations: Iterable[Location]) -> dict[Location, str]:
    """Which of an organization's locations are one, as the key of each; no order of the locations matters.

    Streets are one by any key they share. A place without a street is the one with a street at the same point, or in
    the same town, or any if its town is not known; else it stands by itself.
    """
    groups = Groups()
    streets: dict[Location, str] = {}
    others: dict[Location, None] = {}
    for location in locations:
        keys = address_keys(location)
        if keys:
            streets[location] = keys[0]
            for key in keys:
                groups.join(keys[0], key)
        else:
            others[location] = None
    found = {location: groups.root(key) for location, key in streets.items()}
    points: dict[str, str] = {}
    towns: dict[str, str] = {}
    for location, key in sorted(found.items(), key=lambda item: item[1], reverse=True):
        points[_point(location) or ""] = towns[town(location) or ""] = towns[_ANY] = key
    for location in others:
        point = _point(location)
        standing = points.get(point) if point else None
        found[location] = standing or towns.get(town(location) or _ANY) or point or region(location)
    return found


def _point(location: Location) -> str | None:
    if location.latitude is None or location.longitude is None:
        return None
    return f"@{location.latitude:.4f},{location.longitude:.4f}"


def _service_key(service: Service) -> str:
    words = folded(service.name or service.service_type or "").split()
    while len(words) > 1 and words[-1] in _GENERIC:
        words.pop()
    return " ".join(words)


def _newest(members: Iterable[object], field: str) -> object:
    return _first(getattr(member, field) for member in members)


def _first(values: Iterable[object]) -> object:
    return next((value for value in values if value is not None), None)


def _origin(source: Source) -> Row:
    return {"job_id": source.job_id, "scraper_id": source.scraper_id, "recorded_at": source.recorded_at}
