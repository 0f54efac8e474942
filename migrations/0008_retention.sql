-- What the audit log keeps, and by what it is found.

-- The team of the caller, as the body has it. Rows of before this file get theirs at the next start, and NULL stays in none.
ALTER TABLE audit_entries ADD COLUMN team TEXT;

-- A list is newest first by time, with the index between entries of one instant: each filter is a range of one of these.
DROP INDEX audit_entries_time;
DROP INDEX audit_entries_action;
DROP INDEX audit_entries_initiator;
DROP INDEX audit_entries_target;
DROP INDEX audit_entries_request;
DROP INDEX audit_entries_session;
CREATE INDEX audit_entries_time ON audit_entries (time, idx);
CREATE INDEX audit_entries_action ON audit_entries (action, time, idx);
CREATE INDEX audit_entries_outcome ON audit_entries (outcome, time, idx);
CREATE INDEX audit_entries_initiator ON audit_entries (initiator, time, idx);
CREATE INDEX audit_entries_target ON audit_entries (target, time, idx);
CREATE INDEX audit_entries_replica ON audit_entries (replica, time, idx);
CREATE INDEX audit_entries_request ON audit_entries (request_id);
CREATE INDEX audit_entries_session ON audit_entries (session, time, idx);
CREATE INDEX audit_entries_team ON audit_entries (team, time, idx);

-- Entries through this index were pruned when their time had come. A checkpoint of that size stays, with its tree.
ALTER TABLE audit_head ADD COLUMN pruned BIGINT NOT NULL DEFAULT 0;

-- While a hold stands, nothing that was written from `since` on is pruned, and no body of it is erased.
CREATE TABLE audit_holds (
    name TEXT PRIMARY KEY,
    reason TEXT NOT NULL,
    since BIGINT NOT NULL,
    initiator TEXT NOT NULL,
    create_time BIGINT NOT NULL
);
