-- Where a route decides (an expression; empty: always), how it chooses (a word; empty: by weight), and how long it waits (NULL: as is
-- usual).
ALTER TABLE routes ADD COLUMN rule TEXT NOT NULL DEFAULT '';
ALTER TABLE routes ADD COLUMN balance TEXT NOT NULL DEFAULT '';
ALTER TABLE routes ADD COLUMN first_byte_timeout_ms BIGINT;
ALTER TABLE routes ADD COLUMN deadline_ms BIGINT;

-- Where requests may be received and answered, as patterns, and by which providers, as ids; both empty for everywhere.
ALTER TABLE keys ADD COLUMN regions TEXT NOT NULL DEFAULT '[]';
ALTER TABLE teams ADD COLUMN regions TEXT NOT NULL DEFAULT '[]';
ALTER TABLE teams ADD COLUMN providers TEXT NOT NULL DEFAULT '[]';

-- Which teams name which providers, so that none goes while a team needs it.
CREATE TABLE team_providers (
    team TEXT NOT NULL REFERENCES teams (id) ON DELETE CASCADE,
    provider TEXT NOT NULL REFERENCES providers (id),
    PRIMARY KEY (team, provider)
);
CREATE INDEX team_providers_provider ON team_providers (provider);

-- What a replica leaves alone for a while: the JSON of providers and credentials, each with why and until when.
ALTER TABLE replicas ADD COLUMN resting TEXT NOT NULL DEFAULT '[]';
