-- Organizations after the Human Services Data Specification 3.1.1 (https://docs.openreferral.org), with addresses in the rows of
-- locations. Times are UTC, opens_at and closes_at local time. `job_id`, `scraper_id` and `recorded_at` name the newest result
-- that says it.

PRAGMA user_version = 1;

CREATE TABLE organizations (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    alternate_name TEXT,
    description TEXT,
    email TEXT,
    website TEXT,
    legal_status TEXT,
    year_incorporated INTEGER,
    job_id TEXT NOT NULL,
    scraper_id TEXT,
    recorded_at TEXT NOT NULL
);

CREATE TABLE locations (
    id TEXT PRIMARY KEY,
    organization_id TEXT NOT NULL REFERENCES organizations (id),
    location_type TEXT,
    name TEXT,
    description TEXT,
    latitude REAL,
    longitude REAL,
    address_1 TEXT,
    address_2 TEXT,
    city TEXT,
    state_province TEXT,
    postal_code TEXT,
    country TEXT,
    job_id TEXT NOT NULL,
    scraper_id TEXT,
    recorded_at TEXT NOT NULL
);

CREATE TABLE services (
    id TEXT PRIMARY KEY,
    organization_id TEXT NOT NULL REFERENCES organizations (id),
    name TEXT,
    service_type TEXT, -- not in the specification
    description TEXT,
    url TEXT,
    email TEXT,
    status TEXT,
    application_process TEXT,
    fees_description TEXT,
    eligibility_description TEXT,
    job_id TEXT NOT NULL,
    scraper_id TEXT,
    recorded_at TEXT NOT NULL
);

CREATE TABLE service_at_location (
    service_id TEXT NOT NULL REFERENCES services (id),
    location_id TEXT NOT NULL REFERENCES locations (id),
    PRIMARY KEY (service_id, location_id)
) WITHOUT ROWID;

CREATE TABLE phones (
    id TEXT PRIMARY KEY,
    organization_id TEXT NOT NULL REFERENCES organizations (id),
    location_id TEXT REFERENCES locations (id),
    service_id TEXT REFERENCES services (id),
    number TEXT NOT NULL,
    extension TEXT,
    type TEXT,
    description TEXT,
    job_id TEXT NOT NULL,
    scraper_id TEXT,
    recorded_at TEXT NOT NULL
);

CREATE TABLE schedules (
    id TEXT PRIMARY KEY,
    organization_id TEXT NOT NULL REFERENCES organizations (id),
    service_id TEXT REFERENCES services (id),
    location_id TEXT REFERENCES locations (id),
    valid_from TEXT,
    valid_to TEXT,
    dtstart TEXT,
    until TEXT,
    wkst TEXT,
    freq TEXT,
    interval INTEGER,
    byday TEXT, -- as in RFC 5545: "MO,TU", and "2TU" for the second Tuesday of the month
    bymonthday TEXT,
    description TEXT,
    opens_at TEXT,
    closes_at TEXT,
    job_id TEXT NOT NULL,
    scraper_id TEXT,
    recorded_at TEXT NOT NULL
);

-- What each result came to.
CREATE TABLE results (
    job_id TEXT PRIMARY KEY,
    outcome TEXT NOT NULL, -- 'organizations', or why there are none
    repaired INTEGER NOT NULL, -- 1 where its JSON was broken
    organizations INTEGER NOT NULL,
    scraper_id TEXT,
    recorded_at TEXT NOT NULL
);

-- Each time that a result speaks of an organization.
CREATE TABLE sources (
    job_id TEXT NOT NULL REFERENCES results (job_id),
    ordinal INTEGER NOT NULL,
    organization_id TEXT NOT NULL REFERENCES organizations (id),
    name TEXT,
    scraper_id TEXT,
    source_url TEXT,
    recorded_at TEXT NOT NULL,
    event_id TEXT NOT NULL,
    PRIMARY KEY (job_id, ordinal)
) WITHOUT ROWID;
