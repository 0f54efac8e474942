-- The tools that a key may use, as patterns; empty for all.
ALTER TABLE keys ADD COLUMN tools TEXT NOT NULL DEFAULT '[]';

-- Servers of tools. `customers` and `teams` are lists of ids, both empty for everybody; `keys`, `tools`, `prompts` and `resources` are lists of
-- patterns; `prices` is JSON. `credential` is NULL where none is shown, and `reference` where the secret is sealed here. 0 is what is usual.
CREATE TABLE mcp_servers (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    disabled BIGINT NOT NULL,
    url TEXT NOT NULL,
    allow_private BIGINT NOT NULL,
    transport TEXT NOT NULL,
    auth TEXT NOT NULL,
    credential TEXT UNIQUE,
    reference TEXT,
    fingerprint TEXT NOT NULL,
    customers TEXT NOT NULL,
    teams TEXT NOT NULL,
    keys TEXT NOT NULL,
    tools TEXT NOT NULL,
    prompts TEXT NOT NULL,
    resources TEXT NOT NULL,
    prices TEXT NOT NULL,
    timeout_ms BIGINT NOT NULL,
    parallel BIGINT NOT NULL,
    arguments_bytes BIGINT NOT NULL,
    result_bytes BIGINT NOT NULL,
    shortens BIGINT NOT NULL,
    record_arguments BIGINT NOT NULL,
    pinning TEXT NOT NULL,
    create_time BIGINT NOT NULL,
    update_time BIGINT NOT NULL,
    created BIGINT NOT NULL,
    revision BIGINT NOT NULL
);
CREATE INDEX mcp_servers_created ON mcp_servers (created, id);
CREATE INDEX mcp_servers_revision ON mcp_servers (revision);

-- What servers name, one object a row, so that none goes while a server needs it.
CREATE TABLE mcp_server_references (
    server TEXT NOT NULL REFERENCES mcp_servers (id) ON DELETE CASCADE,
    customer TEXT REFERENCES customers (id),
    team TEXT REFERENCES teams (id)
);
CREATE INDEX mcp_server_references_server ON mcp_server_references (server);
CREATE INDEX mcp_server_references_customer ON mcp_server_references (customer);
CREATE INDEX mcp_server_references_team ON mcp_server_references (team);

-- How each replica found a server the last time. `problem` is empty where it could be used.
CREATE TABLE mcp_observations (
    server TEXT NOT NULL REFERENCES mcp_servers (id) ON DELETE CASCADE,
    replica TEXT NOT NULL REFERENCES replicas (id) ON DELETE CASCADE,
    problem TEXT NOT NULL,
    protocol TEXT NOT NULL,
    software TEXT NOT NULL,
    time BIGINT NOT NULL,
    PRIMARY KEY (server, replica)
);
CREATE INDEX mcp_observations_replica ON mcp_observations (replica);

-- The tools that a server was ever seen to have. `hash` is that of the definition that was seen last; `open` says that the next first use
-- may still approve it. `decided_by` is empty while nobody decided.
CREATE TABLE mcp_tools (
    server TEXT NOT NULL REFERENCES mcp_servers (id) ON DELETE CASCADE,
    tool TEXT NOT NULL,
    hash TEXT NOT NULL,
    present BIGINT NOT NULL,
    open BIGINT NOT NULL,
    blocked BIGINT NOT NULL,
    decide_time BIGINT,
    decided_by TEXT NOT NULL,
    PRIMARY KEY (server, tool)
);

-- Their definitions. `flags` is a list of texts; `quarantined` says that the log was told of it beside an approved one.
CREATE TABLE mcp_definitions (
    server TEXT NOT NULL,
    tool TEXT NOT NULL,
    hash TEXT NOT NULL,
    definition TEXT NOT NULL,
    flags TEXT NOT NULL,
    first_seen BIGINT NOT NULL,
    last_seen BIGINT NOT NULL,
    quarantined BIGINT NOT NULL,
    PRIMARY KEY (server, tool, hash),
    FOREIGN KEY (server, tool) REFERENCES mcp_tools (server, tool) ON DELETE CASCADE
);

-- The definitions that were approved, in the order of `number`; `by_first_use` says that nobody was asked.
CREATE TABLE mcp_pins (
    server TEXT NOT NULL,
    tool TEXT NOT NULL,
    hash TEXT NOT NULL,
    number BIGINT NOT NULL,
    by_first_use BIGINT NOT NULL,
    PRIMARY KEY (server, tool, hash),
    FOREIGN KEY (server, tool, hash) REFERENCES mcp_definitions (server, tool, hash) ON DELETE CASCADE
);
