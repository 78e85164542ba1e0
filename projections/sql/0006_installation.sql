CREATE TABLE playhead_installation (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    id text NOT NULL
);
COMMENT ON TABLE playhead_installation IS 'The installation of Playhead that this database belongs to';
