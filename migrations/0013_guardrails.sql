-- After how long a second provider is asked beside the first, in milliseconds (NULL: never).
ALTER TABLE routes ADD COLUMN hedge_after_ms BIGINT;

-- What is looked for in prompts and answers. `expressions` and `allowed` are JSON; `words`, `rules`, `keys` and `models` are lists of texts;
-- `customers` and `teams` are lists of ids, both empty for everybody.
CREATE TABLE guardrails (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    disabled BIGINT NOT NULL,
    kind TEXT NOT NULL,
    builtin BIGINT NOT NULL,
    rule_file TEXT NOT NULL,
    expressions TEXT NOT NULL,
    words TEXT NOT NULL,
    rules TEXT NOT NULL,
    on_request BIGINT NOT NULL,
    on_response BIGINT NOT NULL,
    action TEXT NOT NULL,
    shadow BIGINT NOT NULL,
    customers TEXT NOT NULL,
    teams TEXT NOT NULL,
    keys TEXT NOT NULL,
    models TEXT NOT NULL,
    allowed TEXT NOT NULL,
    create_time BIGINT NOT NULL,
    update_time BIGINT NOT NULL,
    created BIGINT NOT NULL,
    revision BIGINT NOT NULL
);
CREATE INDEX guardrails_created ON guardrails (created, id);
CREATE INDEX guardrails_revision ON guardrails (revision);

-- What guardrails name, one object a row, so that none goes while a guardrail needs it.
CREATE TABLE guardrail_references (
    guardrail TEXT NOT NULL REFERENCES guardrails (id) ON DELETE CASCADE,
    customer TEXT REFERENCES customers (id),
    team TEXT REFERENCES teams (id)
);
CREATE INDEX guardrail_references_guardrail ON guardrail_references (guardrail);
CREATE INDEX guardrail_references_customer ON guardrail_references (customer);
CREATE INDEX guardrail_references_team ON guardrail_references (team);

-- What guardrails found: what entries of the audit log tell of it, one finding a row, so that it is found by index. `idx` is the entry.
CREATE TABLE findings (
    idx BIGINT NOT NULL,
    number BIGINT NOT NULL,
    time BIGINT NOT NULL,
    guardrail TEXT NOT NULL,
    rule TEXT NOT NULL,
    direction TEXT NOT NULL,
    action TEXT NOT NULL,
    shadow BIGINT NOT NULL,
    fingerprint TEXT NOT NULL,
    place TEXT NOT NULL,
    byte_offset BIGINT NOT NULL,
    occurrences BIGINT NOT NULL,
    key_id TEXT NOT NULL,
    team TEXT NOT NULL,
    customer TEXT NOT NULL,
    session TEXT NOT NULL,
    request_id TEXT NOT NULL,
    model TEXT NOT NULL,
    PRIMARY KEY (idx, number)
);
-- A list is newest first by time, as that of entries: each filter is a range of one of these.
CREATE INDEX findings_time ON findings (time, idx, number);
CREATE INDEX findings_guardrail ON findings (guardrail, time, idx, number);
CREATE INDEX findings_rule ON findings (rule, time, idx, number);
CREATE INDEX findings_direction ON findings (direction, time, idx, number);
CREATE INDEX findings_fingerprint ON findings (fingerprint, time, idx, number);
CREATE INDEX findings_key ON findings (key_id, time, idx, number);
CREATE INDEX findings_team ON findings (team, time, idx, number);
CREATE INDEX findings_customer ON findings (customer, time, idx, number);
CREATE INDEX findings_session ON findings (session, time, idx, number);
