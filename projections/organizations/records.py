"""What one result says about one organization."""

import msgspec

from playhead.projections.organizations.schedules import Schedule


class Location(msgspec.Struct, frozen=True, omit_defaults=True):
    """A place; latitude and longitude in degrees, both or none."""

    name: str | None = None
    location_type: str | None = None
    description: str | None = None
    address_1: str | None = None
    address_2: str | None = None
    city: str | None = None
    state_province: str | None = None
    postal_code: str | None = None
    country: str | None = None
    latitude: float | None = None
    longitude: float | None = None


class Service(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something offered; `locations` are indexes into those of its record."""

    name: str | None = None
    service_type: str | None = None
    description: str | None = None
    url: str | None = None
    email: str | None = None
    status: str | None = None
    eligibility_description: str | None = None
    fees_description: str | None = None
    application_process: str | None = None
    locations: tuple[int, ...] = ()


class Phone(msgspec.Struct, frozen=True, omit_defaults=True):
    """A number as it was written; location and service are indexes into those of its record."""

    number: str
    extension: str | None = None
    type: str | None = None
    description: str | None = None
    location: int | None = None
    service: int | None = None


class Hours(msgspec.Struct, frozen=True, omit_defaults=True):
    """When a service is offered at a location, or either is open."""

    schedules: tuple[Schedule, ...]
    location: int | None = None
    service: int | None = None


class Record(msgspec.Struct, frozen=True, omit_defaults=True):
    """An organization as one result has it."""

    name: str
    alternate_name: str | None = None
    description: str | None = None
    email: str | None = None
    website: str | None = None
    legal_status: str | None = None
    year_incorporated: int | None = None
    locations: tuple[Location, ...] = ()
    services: tuple[Service, ...] = ()
    phones: tuple[Phone, ...] = ()
    hours: tuple[Hours, ...] = ()
