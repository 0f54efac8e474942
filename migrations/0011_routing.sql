-- How a provider is shown a credential (empty: as is usual in its dialect), where it is in its vendor's words, and how it differs
-- from its dialect's author, as a list of words.
ALTER TABLE providers ADD COLUMN auth TEXT NOT NULL DEFAULT '';
ALTER TABLE providers ADD COLUMN region TEXT NOT NULL DEFAULT '';
ALTER TABLE providers ADD COLUMN quirks TEXT NOT NULL DEFAULT '[]';

-- Where the requests for a model go. Customers, teams and keys are lists of ids, all empty for everybody; `tiers` is the JSON of
-- targets by tier.
CREATE TABLE routes (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    models TEXT NOT NULL,
    customers TEXT NOT NULL,
    teams TEXT NOT NULL,
    keys TEXT NOT NULL,
    priority BIGINT NOT NULL,
    disabled BIGINT NOT NULL,
    strict BIGINT NOT NULL,
    tiers TEXT NOT NULL,
    create_time BIGINT NOT NULL,
    update_time BIGINT NOT NULL,
    created BIGINT NOT NULL,
    revision BIGINT NOT NULL
);
CREATE INDEX routes_created ON routes (created, id);
CREATE INDEX routes_revision ON routes (revision);

-- What routes name, one object a row, so that none goes while a route needs it.
CREATE TABLE route_references (
    route TEXT NOT NULL REFERENCES routes (id) ON DELETE CASCADE,
    provider TEXT REFERENCES providers (id),
    customer TEXT REFERENCES customers (id),
    team TEXT REFERENCES teams (id),
    key_id TEXT REFERENCES keys (id)
);
CREATE INDEX route_references_route ON route_references (route);
CREATE INDEX route_references_provider ON route_references (provider);
CREATE INDEX route_references_customer ON route_references (customer);
CREATE INDEX route_references_team ON route_references (team);
CREATE INDEX route_references_key ON route_references (key_id);
