-- Silence that recordings leave out, in the order of time: [{"at_ms": 61000, "length_ms": 3600000}]
ALTER TABLE recordings ADD COLUMN cuts jsonb NOT NULL DEFAULT '[]';
