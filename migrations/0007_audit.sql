-- The audit log, sealed. What is signed stands in `header`, `salt`, `body`, `mac` and `leaf`; the other columns repeat parts of
-- it for search. Entries that are older than this file are sealed at the next start.
ALTER TABLE audit_entries ADD COLUMN header BYTEA;
ALTER TABLE audit_entries ADD COLUMN salt BYTEA;
ALTER TABLE audit_entries ADD COLUMN mac BYTEA;
ALTER TABLE audit_entries ADD COLUMN leaf BYTEA;
-- SHA-256(salt || body) of an entry whose body was erased; `body` and `salt` are then empty.
ALTER TABLE audit_entries ADD COLUMN commitment BYTEA;

-- `log` names the log; `frontier` is the Merkle tree over all entries that are sealed; `sequence` and `link` are where the
-- chain of the control planes stands; `epoch` names the keys in force. NULL until a control plane has made its keys.
ALTER TABLE audit_head ADD COLUMN log BYTEA;
ALTER TABLE audit_head ADD COLUMN frontier BYTEA;
ALTER TABLE audit_head ADD COLUMN sequence BIGINT NOT NULL DEFAULT 0;
ALTER TABLE audit_head ADD COLUMN link BYTEA;
ALTER TABLE audit_head ADD COLUMN epoch TEXT;

-- The keys that seal: an HMAC key and an Ed25519 key an epoch, sealed among the secrets under the epoch's id, which names the
-- HMAC key. `first_index` is the first entry under them.
CREATE TABLE audit_epochs (
    id TEXT PRIMARY KEY,
    public_key BYTEA NOT NULL,
    first_index BIGINT NOT NULL,
    create_time BIGINT NOT NULL
);

-- Signed checkpoints, each with the tree that it signs, so that an export may begin behind any of them.
CREATE TABLE audit_checkpoints (
    size BIGINT PRIMARY KEY,
    time BIGINT NOT NULL,
    note TEXT NOT NULL,
    frontier BYTEA NOT NULL,
    public_key BYTEA NOT NULL
);

-- Where the chain of audit entries of a run stands: the sequence and the link of its last one.
ALTER TABLE usage_runs ADD COLUMN audit_sequence BIGINT NOT NULL DEFAULT 0;
ALTER TABLE usage_runs ADD COLUMN audit_link BYTEA;
