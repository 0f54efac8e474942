-- Who may do what: roles and their bindings, where users come from, their sessions, and service accounts.

-- The permissions of a custom role, a JSON array of `resource.action` and `resource.*`. System roles are part of the program.
CREATE TABLE roles (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    display_name TEXT NOT NULL,
    permissions TEXT NOT NULL,
    create_time BIGINT NOT NULL,
    update_time BIGINT NOT NULL,
    created BIGINT NOT NULL,
    revision BIGINT NOT NULL
);
CREATE INDEX roles_created ON roles (created, id);

-- `role` is the id of a custom role or the name of a system role. `subject` is an id, or for a group its name. The scope is
-- everything, a customer, a team, or what the subject owns; `scope` is the customer's or the team's id, otherwise empty.
CREATE TABLE bindings (
    id TEXT PRIMARY KEY,
    role TEXT NOT NULL,
    subject_kind TEXT NOT NULL CHECK (subject_kind IN ('user', 'group', 'service-account')),
    subject TEXT NOT NULL,
    scope_kind TEXT NOT NULL CHECK (scope_kind IN ('everything', 'customer', 'team', 'own')),
    scope TEXT NOT NULL,
    expire_time BIGINT,
    create_time BIGINT NOT NULL,
    update_time BIGINT NOT NULL,
    created BIGINT NOT NULL,
    revision BIGINT NOT NULL,
    UNIQUE (role, subject_kind, subject, scope_kind, scope)
);
CREATE INDEX bindings_subject ON bindings (subject_kind, subject);
CREATE INDEX bindings_created ON bindings (created, id);

-- What developers of a team may do for themselves, as JSON; null: nothing.
ALTER TABLE teams ADD COLUMN self_service TEXT;

-- Whom an identity provider means: issuer and subject are the identity, and nothing else is. `issuer` is a configured issuer's
-- URL. One subject of one issuer is one user for ever.
CREATE TABLE identities (
    issuer TEXT NOT NULL,
    subject TEXT NOT NULL,
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    create_time BIGINT NOT NULL,
    sign_in_time BIGINT NOT NULL,
    PRIMARY KEY (issuer, subject)
);
CREATE INDEX identities_user ON identities (user_id);

-- The groups of a user as each source last said: an issuer's URL, or `scim`.
CREATE TABLE memberships (
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    source TEXT NOT NULL,
    group_name TEXT NOT NULL,
    PRIMARY KEY (user_id, source, group_name)
);
CREATE INDEX memberships_group ON memberships (group_name);

-- Groups that are provisioned over SCIM; their members are in `memberships` under the source `scim`. The
-- version is the revision of the last change, members included.
CREATE TABLE scim_groups (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    external_id TEXT NOT NULL,
    create_time BIGINT NOT NULL,
    update_time BIGINT NOT NULL,
    created BIGINT NOT NULL,
    revision BIGINT NOT NULL
);
CREATE INDEX scim_groups_created ON scim_groups (created, id);
CREATE INDEX scim_groups_external ON scim_groups (external_id);

-- What SCIM knows of a user beyond the user: the attributes as they were given, as JSON. `user_name` is in lower case, since
-- SCIM compares it so. The version is the revision of the user.
CREATE TABLE scim_users (
    user_id TEXT PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    user_name TEXT NOT NULL UNIQUE,
    external_id TEXT NOT NULL,
    attributes TEXT NOT NULL
);
CREATE INDEX scim_users_external ON scim_users (external_id);

-- A user who is signed in. Tokens are kept as HMAC-SHA256 under the pepper. `ended` is 1 once it was signed out or revoked:
-- replicas are told until the row is deleted, with a tombstone. `tokens_expire_time` is when the last credential that was issued
-- in it expires, 0 when none was. `revision` is that of the end, 0 before. `checked_time` is when the issuer last said that the
-- grant holds, `claim_time` when a control plane last set out to ask: one asks at a time, since an issuer may take a refresh token
-- that is used twice for stolen.
CREATE TABLE sessions (
    id TEXT PRIMARY KEY,
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    issuer TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('browser', 'command-line')),
    access_hash BYTEA NOT NULL UNIQUE,
    access_expire_time BIGINT NOT NULL,
    refresh_hash BYTEA UNIQUE,
    expire_time BIGINT NOT NULL,
    tokens_expire_time BIGINT NOT NULL,
    create_time BIGINT NOT NULL,
    used_time BIGINT NOT NULL,
    checked_time BIGINT NOT NULL,
    claim_time BIGINT NOT NULL DEFAULT 0,
    source_address TEXT NOT NULL,
    user_agent TEXT NOT NULL,
    ended BIGINT NOT NULL,
    revision BIGINT NOT NULL
);
CREATE INDEX sessions_user ON sessions (user_id);
CREATE INDEX sessions_expire ON sessions (expire_time);
CREATE INDEX sessions_revision ON sessions (revision);

-- The public keys with which replicas verify developers' short-lived credentials: one, and after a rotation two. `id` is the
-- `kid` of what the key signs; the private key is in `secrets` under the purpose `token-signer` and this id.
CREATE TABLE token_keys (
    id TEXT PRIMARY KEY,
    public_key BYTEA NOT NULL,
    create_time BIGINT NOT NULL,
    revision BIGINT NOT NULL
);

-- Refresh tokens that were used: whoever presents one again holds a stolen copy, or was robbed, and the session ends.
CREATE TABLE spent_refresh_tokens (
    hash BYTEA PRIMARY KEY,
    session TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE
);
CREATE INDEX spent_refresh_tokens_session ON spent_refresh_tokens (session);

-- Sign-ins that have begun: an authorisation code flow at an issuer, a device flow, a device to be confirmed, a code to be
-- exchanged. One row is used once. `body` is JSON.
CREATE TABLE sign_ins (
    kind TEXT NOT NULL CHECK (kind IN ('state', 'device', 'code', 'confirmation')),
    hash BYTEA NOT NULL,
    user_code TEXT UNIQUE,
    body TEXT NOT NULL,
    expire_time BIGINT NOT NULL,
    PRIMARY KEY (kind, hash)
);
CREATE INDEX sign_ins_expire ON sign_ins (expire_time);

CREATE TABLE service_accounts (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    display_name TEXT NOT NULL,
    disabled BIGINT NOT NULL,
    create_time BIGINT NOT NULL,
    update_time BIGINT NOT NULL,
    created BIGINT NOT NULL,
    revision BIGINT NOT NULL
);
CREATE INDEX service_accounts_created ON service_accounts (created, id);

-- The tokens of a service account: HMAC-SHA256 under the pepper.
CREATE TABLE service_account_tokens (
    account TEXT NOT NULL REFERENCES service_accounts (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    hash BYTEA NOT NULL UNIQUE,
    prefix TEXT NOT NULL,
    expire_time BIGINT NOT NULL,
    create_time BIGINT NOT NULL,
    used_time BIGINT,
    PRIMARY KEY (account, name)
);
