-- The replicas, as the control planes hear of them, and what admits new ones.

-- `stream` names the open stream over all control planes; empty: none. `behind_since` is when the newest revision went past
-- what the replica acknowledged; 0: it is not behind. `nack_*` are those of the last refused push, until one is applied.
CREATE TABLE replicas (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    region TEXT NOT NULL,
    version TEXT NOT NULL,
    incarnation BIGINT NOT NULL,
    join_time BIGINT NOT NULL,
    draining BIGINT NOT NULL,
    stream TEXT NOT NULL,
    seen_time BIGINT NOT NULL,
    acked_epoch TEXT NOT NULL,
    acked_revision BIGINT NOT NULL,
    acked_time BIGINT NOT NULL,
    apply_us BIGINT NOT NULL,
    behind_since BIGINT NOT NULL,
    nack_epoch TEXT NOT NULL,
    nack_revision BIGINT NOT NULL,
    nack_reason TEXT NOT NULL
);
CREATE INDEX replicas_joined ON replicas (join_time, id);

-- SHA-256 of the secret in a join token. A token admits replicas until it expires; then its row is removed.
CREATE TABLE join_tokens (
    hash BYTEA PRIMARY KEY,
    principal TEXT NOT NULL,
    create_time BIGINT NOT NULL,
    expire_time BIGINT NOT NULL
);
CREATE INDEX join_tokens_expire ON join_tokens (expire_time);
