-- Where the audit log is shipped to by itself: how far each sink has it, and which control plane ships it until when.
CREATE TABLE audit_sinks (
    name TEXT PRIMARY KEY,
    -- The last entry that the sink has acknowledged; 0: none.
    shipped BIGINT NOT NULL,
    -- The run of the control plane that ships, and until when nobody else may. What no control plane has held for days is no
    -- sink any more.
    holder TEXT NOT NULL,
    held_until BIGINT NOT NULL
);
