CREATE TABLE revenue (
    number text PRIMARY KEY,
    amount bigint NOT NULL,
    event_id text NOT NULL,
    written_by text NOT NULL
);
