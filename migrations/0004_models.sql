-- The models: rows of the catalogue that ships with the program, and overrides that stand before them.
-- `facts` is the JSON of a catalogue row. `revision` is that of the last change of what the row makes effective.
CREATE TABLE models (
    vendor TEXT NOT NULL,
    name TEXT NOT NULL,
    origin TEXT NOT NULL CHECK (origin IN ('catalogue', 'override')),
    facts TEXT NOT NULL,
    as_of BIGINT NOT NULL,
    revision BIGINT NOT NULL,
    PRIMARY KEY (vendor, name, origin)
);
CREATE INDEX models_revision ON models (revision);

-- One row: the catalogue that was imported last; version 0 before the first.
CREATE TABLE model_catalogue (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    version BIGINT NOT NULL,
    as_of BIGINT NOT NULL
);
INSERT INTO model_catalogue (id, version, as_of) VALUES (1, 0, 0);
