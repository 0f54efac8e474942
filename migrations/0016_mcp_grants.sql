-- What the control plane got of authorization servers to be shown to servers of tools: one row for each server and user, or for the server
-- itself where `user_id` is NULL. The tokens are sealed under the row's id. `holder` is the user's id, or empty. `problem` is empty while the
-- grant is good. Whoever renews the tokens claims the row until `claim_time`, at the `generation` that was seen, and moves the generation on.
CREATE TABLE mcp_grants (
    id TEXT PRIMARY KEY,
    server TEXT NOT NULL REFERENCES mcp_servers (id) ON DELETE CASCADE,
    holder TEXT NOT NULL,
    user_id TEXT REFERENCES users (id) ON DELETE CASCADE,
    issuer TEXT NOT NULL,
    client TEXT NOT NULL,
    scopes TEXT NOT NULL,
    problem TEXT NOT NULL,
    renewable BIGINT NOT NULL,
    expire_time BIGINT NOT NULL,
    generation BIGINT NOT NULL,
    claim_time BIGINT NOT NULL,
    create_time BIGINT NOT NULL,
    refresh_time BIGINT NOT NULL,
    UNIQUE (server, holder)
);
CREATE INDEX mcp_grants_user ON mcp_grants (user_id);

-- Browsers that were sent to an authorization server, each found by the keyed hash of the state that it must come back with. `body` is JSON.
CREATE TABLE mcp_consents (
    hash BYTEA PRIMARY KEY,
    server TEXT NOT NULL REFERENCES mcp_servers (id) ON DELETE CASCADE,
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    body TEXT NOT NULL,
    expire_time BIGINT NOT NULL
);
CREATE INDEX mcp_consents_expire ON mcp_consents (expire_time);
CREATE INDEX mcp_consents_user ON mcp_consents (user_id);
CREATE INDEX mcp_consents_server ON mcp_consents (server);
