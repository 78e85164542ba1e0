-- Organizations after the Human Services Data Specification 3.1.1 (https://docs.openreferral.org), derived from `sources`.
-- Their rows are replaced together, so no foreign key is checked row by row. `job_id`, `scraper_id` and `recorded_at` in a
-- derived row name the newest result that says it.

-- One row a job: what its result came to.
CREATE TABLE organization_results (
    job_id text COLLATE "C" PRIMARY KEY,
    outcome text NOT NULL, -- 'organizations', or why there are none
    repaired boolean NOT NULL,
    organizations integer NOT NULL,
    scraper_id text,
    recorded_at timestamptz NOT NULL,
    event_id text NOT NULL,
    precedence text COLLATE "C" NOT NULL -- results with organizations first, then by event order
);
CREATE INDEX ON organization_results (outcome);

-- One row for each organization in a job's result, as the result has it.
CREATE TABLE sources (
    job_id text COLLATE "C" NOT NULL,
    ordinal integer NOT NULL,
    organization_id uuid,
    scraper_id text,
    source_url text,
    recorded_at timestamptz NOT NULL,
    event_id text NOT NULL,
    label text NOT NULL, -- normalised name, and which of that name in the result
    signature text NOT NULL,
    body jsonb NOT NULL,
    PRIMARY KEY (job_id, ordinal)
);
CREATE INDEX ON sources (organization_id, recorded_at, job_id, ordinal);
CREATE INDEX ON sources (signature, recorded_at, job_id, ordinal);

-- What the matching rule looks at, once for all sources that agree in it.
CREATE TABLE organization_matches (
    signature text PRIMARY KEY,
    organization_id uuid NOT NULL,
    profile jsonb NOT NULL,
    keys text[] NOT NULL
);
CREATE INDEX ON organization_matches (organization_id);
CREATE INDEX ON organization_matches USING gin (keys) WITH (fastupdate = off);

CREATE TABLE organizations (
    id uuid PRIMARY KEY,
    name text NOT NULL,
    alternate_name text,
    description text,
    email text,
    website text,
    legal_status text,
    year_incorporated integer,
    job_id text NOT NULL,
    scraper_id text,
    recorded_at timestamptz NOT NULL
);
CREATE INDEX ON organizations USING gin (to_tsvector('simple', left(name || ' ' || coalesce(alternate_name, ''), 2000)));

-- A location and its address in one row.
CREATE TABLE locations (
    id uuid PRIMARY KEY,
    organization_id uuid NOT NULL,
    location_type text,
    name text,
    description text,
    latitude double precision,
    longitude double precision,
    address_1 text,
    address_2 text,
    city text,
    state_province text,
    postal_code text,
    country text,
    job_id text NOT NULL,
    scraper_id text,
    recorded_at timestamptz NOT NULL
);
CREATE INDEX ON locations (organization_id);
CREATE INDEX ON locations (latitude, longitude);

CREATE TABLE services (
    id uuid PRIMARY KEY,
    organization_id uuid NOT NULL,
    name text,
    service_type text, -- not in the specification, which has taxonomies
    description text,
    url text,
    email text,
    status text,
    application_process text,
    fees_description text,
    eligibility_description text,
    location_ids uuid[] NOT NULL, -- the specification's service_at_location
    job_id text NOT NULL,
    scraper_id text,
    recorded_at timestamptz NOT NULL
);
CREATE INDEX ON services (organization_id);

CREATE TABLE phones (
    id uuid PRIMARY KEY,
    organization_id uuid NOT NULL,
    location_id uuid,
    service_id uuid,
    number text NOT NULL,
    extension text,
    type text,
    description text,
    job_id text NOT NULL,
    scraper_id text,
    recorded_at timestamptz NOT NULL
);
CREATE INDEX ON phones (organization_id);

CREATE TABLE schedules (
    id uuid PRIMARY KEY,
    organization_id uuid NOT NULL,
    service_id uuid,
    location_id uuid,
    valid_from date,
    valid_to date,
    dtstart date,
    until date,
    wkst text,
    freq text,
    interval integer,
    byday text,
    bymonthday text,
    description text,
    opens_at time,
    closes_at time,
    job_id text NOT NULL,
    scraper_id text,
    recorded_at timestamptz NOT NULL
);
CREATE INDEX ON schedules (organization_id);
CREATE INDEX ON schedules (location_id);
