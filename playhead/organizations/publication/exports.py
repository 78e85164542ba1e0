"""NDJSON of organizations and GeoJSON of locations, made from the SQLite file."""

import sqlite3
from pathlib import Path
from typing import Any

import msgspec

Row = dict[str, Any]

_LOCATIONS = (Path(__file__).parent / "locations.sql").read_text()
_SERVICES = (
    "SELECT DISTINCT services.name FROM service_at_location JOIN services ON services.id = service_id"
    " WHERE location_id = ? AND services.name IS NOT NULL ORDER BY services.name"
)
_PHONES = (
    "SELECT DISTINCT number FROM phones JOIN locations ON locations.organization_id = phones.organization_id"
    " WHERE locations.id = ? AND coalesce(location_id, locations.id) = locations.id ORDER BY number"
)
_HOURS = (
    "SELECT byday, opens_at, closes_at, valid_from, valid_to, description FROM schedules"
    " WHERE location_id = ? ORDER BY id"
)
_AT = "SELECT location_id FROM service_at_location WHERE service_id = ? ORDER BY location_id"
_PARTS = {
    "locations": "SELECT * FROM locations WHERE organization_id = ? ORDER BY id",
    "services": "SELECT * FROM services WHERE organization_id = ? ORDER BY id",
    "phones": "SELECT * FROM phones WHERE organization_id = ? ORDER BY id",
    "schedules": "SELECT * FROM schedules WHERE organization_id = ? ORDER BY id",
    "sources": "SELECT job_id, scraper_id, source_url, recorded_at, event_id, name FROM sources"
    " WHERE organization_id = ? ORDER BY recorded_at DESC, job_id DESC, ordinal DESC",
}


def write_organizations(database: sqlite3.Connection, path: Path) -> None:
    """Write an organization a line, with all that belongs to it, as `playhead organizations show --json` prints it."""
    with path.open("wb") as file:
        for organization in database.execute("SELECT * FROM organizations ORDER BY id"):
            row = dict(organization)
            for name, statement in _PARTS.items():
                row[name] = _rows(database, statement, row["id"])
            for service in row["services"]:
                service["location_ids"] = [at["location_id"] for at in _rows(database, _AT, service["id"])]
            file.write(msgspec.json.encode(row) + b"\n")


def write_locations(database: sqlite3.Connection, path: Path) -> None:
    """Write a FeatureCollection (RFC 7946), a feature a line; a location without a point is left out."""
    with path.open("wb") as file:
        file.write(b'{"type":"FeatureCollection","features":[')
        for number, location in enumerate(database.execute(_LOCATIONS)):
            file.write(b",\n" if number else b"\n")
            file.write(msgspec.json.encode(_feature(database, dict(location))))
        file.write(b"\n]}\n")


def _feature(database: sqlite3.Connection, location: Row) -> Row:
    identity = location.pop("id")
    point = [location.pop("longitude"), location.pop("latitude")]
    location["services"] = [row["name"] for row in _rows(database, _SERVICES, identity)]
    location["phones"] = [row["number"] for row in _rows(database, _PHONES, identity)]
    location["schedules"] = [
        {name: value for name, value in row.items() if value is not None} for row in _rows(database, _HOURS, identity)
    ]
    told = {name: value for name, value in location.items() if value not in (None, [])}
    geometry: Row = {"type": "Point", "coordinates": point}
    return {"type": "Feature", "id": identity, "geometry": geometry, "properties": told}


def _rows(database: sqlite3.Connection, statement: str, identity: str) -> list[Row]:
    return [dict(row) for row in database.execute(statement, (identity,))]
