-- The nouns that administrators manage, the fleet's revision, the secrets, and the audit log.
-- One text for SQLite and PostgreSQL: BIGINT, TEXT and BYTEA columns only. Instants are Unix milliseconds, flags are 0 or 1,
-- lists are JSON arrays of text.

-- One row: the newest revision, and the name of the history that it counts. Its lock orders administrative changes.
CREATE TABLE fleet (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    epoch TEXT NOT NULL,
    revision BIGINT NOT NULL
);

-- `created` is the revision of the creation and orders pages; `revision` is that of the last change.
CREATE TABLE customers (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    display_name TEXT NOT NULL,
    disabled BIGINT NOT NULL,
    create_time BIGINT NOT NULL,
    update_time BIGINT NOT NULL,
    created BIGINT NOT NULL,
    revision BIGINT NOT NULL
);
CREATE INDEX customers_created ON customers (created, id);
CREATE INDEX customers_revision ON customers (revision);

CREATE TABLE teams (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    display_name TEXT NOT NULL,
    customer TEXT NOT NULL REFERENCES customers (id),
    disabled BIGINT NOT NULL,
    create_time BIGINT NOT NULL,
    update_time BIGINT NOT NULL,
    created BIGINT NOT NULL,
    revision BIGINT NOT NULL
);
CREATE INDEX teams_customer ON teams (customer);
CREATE INDEX teams_created ON teams (created, id);
CREATE INDEX teams_revision ON teams (revision);

CREATE TABLE users (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    email TEXT UNIQUE,
    display_name TEXT NOT NULL,
    team TEXT REFERENCES teams (id),
    disabled BIGINT NOT NULL,
    create_time BIGINT NOT NULL,
    update_time BIGINT NOT NULL,
    created BIGINT NOT NULL,
    revision BIGINT NOT NULL
);
CREATE INDEX users_team ON users (team);
CREATE INDEX users_created ON users (created, id);
CREATE INDEX users_revision ON users (revision);

CREATE TABLE providers (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    dialect TEXT NOT NULL,
    base_url TEXT NOT NULL,
    allow_private BIGINT NOT NULL,
    models TEXT NOT NULL,
    vendor TEXT NOT NULL,
    disabled BIGINT NOT NULL,
    priority BIGINT NOT NULL,
    create_time BIGINT NOT NULL,
    update_time BIGINT NOT NULL,
    created BIGINT NOT NULL,
    revision BIGINT NOT NULL
);
CREATE INDEX providers_created ON providers (created, id);
CREATE INDEX providers_revision ON providers (revision);

-- `reference` is where a replica finds the secret; without one the secret is sealed in `secrets` under the credential's id.
CREATE TABLE credentials (
    id TEXT PRIMARY KEY,
    provider TEXT NOT NULL REFERENCES providers (id),
    name TEXT NOT NULL,
    position BIGINT NOT NULL,
    reference TEXT,
    weight BIGINT NOT NULL,
    disabled BIGINT NOT NULL,
    fingerprint TEXT NOT NULL,
    UNIQUE (provider, name)
);

-- `hash` is HMAC-SHA256 of the whole virtual key under the pepper. Providers and credentials are lists of ids.
CREATE TABLE keys (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    display_name TEXT NOT NULL,
    team TEXT NOT NULL REFERENCES teams (id),
    user_id TEXT REFERENCES users (id),
    revoked BIGINT NOT NULL,
    expire_time BIGINT,
    models TEXT NOT NULL,
    providers TEXT NOT NULL,
    credentials TEXT NOT NULL,
    tags TEXT NOT NULL,
    prefix TEXT NOT NULL,
    hash BYTEA NOT NULL UNIQUE,
    create_time BIGINT NOT NULL,
    update_time BIGINT NOT NULL,
    created BIGINT NOT NULL,
    revision BIGINT NOT NULL
);
CREATE INDEX keys_team ON keys (team);
CREATE INDEX keys_user ON keys (user_id);
CREATE INDEX keys_created ON keys (created, id);
CREATE INDEX keys_revision ON keys (revision);

-- Which keys name which providers and credentials, so that neither goes while a key needs it.
CREATE TABLE key_providers (
    key_id TEXT NOT NULL REFERENCES keys (id) ON DELETE CASCADE,
    provider TEXT NOT NULL REFERENCES providers (id),
    PRIMARY KEY (key_id, provider)
);
CREATE INDEX key_providers_provider ON key_providers (provider);
CREATE TABLE key_credentials (
    key_id TEXT NOT NULL REFERENCES keys (id) ON DELETE CASCADE,
    credential TEXT NOT NULL REFERENCES credentials (id),
    PRIMARY KEY (key_id, credential)
);
CREATE INDEX key_credentials_credential ON key_credentials (credential);

-- What was deleted, and in which revision. `kind` is the noun.
CREATE TABLE tombstones (
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    revision BIGINT NOT NULL,
    PRIMARY KEY (kind, id)
);
CREATE INDEX tombstones_revision ON tombstones (revision);

-- Sealed secrets: a data key per secret, wrapped by the key-encryption key that `key_id` names.
CREATE TABLE secrets (
    purpose TEXT NOT NULL,
    id TEXT NOT NULL,
    key_id TEXT NOT NULL,
    wrapped_key BYTEA NOT NULL,
    sealed BYTEA NOT NULL,
    create_time BIGINT NOT NULL,
    PRIMARY KEY (purpose, id)
);

-- The hashes of administrators' tokens, HMAC-SHA256 under the pepper.
CREATE TABLE admin_tokens (
    principal TEXT PRIMARY KEY,
    hash BYTEA NOT NULL UNIQUE,
    create_time BIGINT NOT NULL
);

-- The audit log. `body` holds the encoded entry exactly as it was written; the other columns repeat parts of it for search.
CREATE TABLE audit_head (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    length BIGINT NOT NULL
);
INSERT INTO audit_head (id, length) VALUES (1, 0);
CREATE TABLE audit_entries (
    idx BIGINT PRIMARY KEY,
    time BIGINT NOT NULL,
    action TEXT NOT NULL,
    outcome TEXT NOT NULL,
    initiator TEXT NOT NULL,
    target TEXT NOT NULL,
    replica TEXT NOT NULL,
    request_id TEXT NOT NULL,
    session TEXT NOT NULL,
    body BYTEA NOT NULL
);
CREATE INDEX audit_entries_time ON audit_entries (time);
CREATE INDEX audit_entries_action ON audit_entries (action, idx);
CREATE INDEX audit_entries_initiator ON audit_entries (initiator, idx);
CREATE INDEX audit_entries_target ON audit_entries (target, idx);
CREATE INDEX audit_entries_request ON audit_entries (request_id);
CREATE INDEX audit_entries_session ON audit_entries (session, idx);
