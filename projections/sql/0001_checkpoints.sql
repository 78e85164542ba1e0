-- How far a projection has come in each partition, and the epoch of the process that may write there.
CREATE TABLE playhead_checkpoints (
    projection text NOT NULL,
    source text NOT NULL,
    epoch bigint NOT NULL,
    position_ms bigint NOT NULL DEFAULT 0,
    position_counter bigint NOT NULL DEFAULT 0,
    position text NOT NULL GENERATED ALWAYS AS (position_ms::text || '-' || position_counter::text) STORED,
    PRIMARY KEY (projection, source)
);
