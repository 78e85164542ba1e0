CREATE INDEX organizations_by_name ON organizations (name);
CREATE INDEX locations_by_organization ON locations (organization_id);
CREATE INDEX locations_by_point ON locations (latitude, longitude);
CREATE INDEX services_by_organization ON services (organization_id);
CREATE INDEX services_by_location ON service_at_location (location_id);
CREATE INDEX phones_by_organization ON phones (organization_id);
CREATE INDEX phones_by_location ON phones (location_id);
CREATE INDEX phones_by_service ON phones (service_id);
CREATE INDEX schedules_by_organization ON schedules (organization_id);
CREATE INDEX schedules_by_location ON schedules (location_id);
CREATE INDEX schedules_by_service ON schedules (service_id);
CREATE INDEX sources_by_organization ON sources (organization_id);
CREATE INDEX results_by_outcome ON results (outcome);

CREATE VIRTUAL TABLE organizations_fts USING fts5 (name, alternate_name, description, content = organizations);
INSERT INTO organizations_fts (organizations_fts) VALUES ('rebuild');
INSERT INTO organizations_fts (organizations_fts) VALUES ('optimize');

CREATE VIRTUAL TABLE services_fts USING fts5 (name, service_type, description, content = services);
INSERT INTO services_fts (services_fts) VALUES ('rebuild');
INSERT INTO services_fts (services_fts) VALUES ('optimize');
