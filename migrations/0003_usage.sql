-- What replicas report. One text for SQLite and PostgreSQL. Ids are not references: a record outlives its key, and one that
-- names an unknown key is kept.

-- How far each run of each replica is stored, without gaps. The row's lock orders the reports of a run.
CREATE TABLE usage_runs (
    replica TEXT NOT NULL,
    incarnation BIGINT NOT NULL,
    acknowledged BIGINT NOT NULL,
    update_time BIGINT NOT NULL,
    PRIMARY KEY (replica, incarnation)
);

-- Every visit. `dropped` above 0 marks a gap: so many records are missing, and the row is no visit.
CREATE TABLE usage_records (
    replica TEXT NOT NULL,
    incarnation BIGINT NOT NULL,
    sequence BIGINT NOT NULL,
    request_id TEXT NOT NULL,
    arrived BIGINT NOT NULL,
    duration_ms BIGINT NOT NULL,
    first_byte_ms BIGINT NOT NULL,
    outcome TEXT NOT NULL,
    refusal TEXT NOT NULL,
    status BIGINT NOT NULL,
    key_id TEXT NOT NULL,
    team TEXT NOT NULL,
    customer TEXT NOT NULL,
    user_id TEXT NOT NULL,
    session TEXT NOT NULL,
    agent TEXT NOT NULL,
    parent_agent TEXT NOT NULL,
    operation TEXT NOT NULL,
    model TEXT NOT NULL,
    answered_model TEXT NOT NULL,
    provider TEXT NOT NULL,
    credential TEXT NOT NULL,
    streamed BIGINT NOT NULL,
    input_tokens BIGINT NOT NULL,
    output_tokens BIGINT NOT NULL,
    cache_read_tokens BIGINT NOT NULL,
    cache_write_5m_tokens BIGINT NOT NULL,
    cache_write_1h_tokens BIGINT NOT NULL,
    web_searches BIGINT NOT NULL,
    cost_nano_usd BIGINT NOT NULL,
    unpriced BIGINT NOT NULL,
    revision BIGINT NOT NULL,
    upstream_request_id TEXT NOT NULL,
    attempts BIGINT NOT NULL,
    dropped BIGINT NOT NULL,
    PRIMARY KEY (replica, incarnation, sequence)
);
CREATE INDEX usage_records_arrived ON usage_records (arrived, replica, incarnation, sequence);
CREATE INDEX usage_records_key ON usage_records (key_id, arrived);
CREATE INDEX usage_records_team ON usage_records (team, arrived);
CREATE INDEX usage_records_session ON usage_records (session, arrived);
CREATE INDEX usage_records_request ON usage_records (request_id);

-- Sums by hour since 1970, maintained in the transaction that inserts the records: totals never differ from the records.
CREATE TABLE usage_hours (
    hour BIGINT NOT NULL,
    key_id TEXT NOT NULL,
    team TEXT NOT NULL,
    customer TEXT NOT NULL,
    user_id TEXT NOT NULL,
    model TEXT NOT NULL,
    provider TEXT NOT NULL,
    requests BIGINT NOT NULL,
    refused BIGINT NOT NULL,
    uncertain BIGINT NOT NULL,
    unpriced BIGINT NOT NULL,
    input_tokens BIGINT NOT NULL,
    output_tokens BIGINT NOT NULL,
    cache_read_tokens BIGINT NOT NULL,
    cache_write_5m_tokens BIGINT NOT NULL,
    cache_write_1h_tokens BIGINT NOT NULL,
    web_searches BIGINT NOT NULL,
    cost_nano_usd BIGINT NOT NULL,
    PRIMARY KEY (hour, key_id, team, customer, user_id, model, provider)
);

-- The same, told apart by agent session and sub-agent as well: far more rows, which only questions about sessions read.
CREATE TABLE usage_sessions (
    hour BIGINT NOT NULL,
    session TEXT NOT NULL,
    agent TEXT NOT NULL,
    key_id TEXT NOT NULL,
    team TEXT NOT NULL,
    customer TEXT NOT NULL,
    user_id TEXT NOT NULL,
    model TEXT NOT NULL,
    provider TEXT NOT NULL,
    requests BIGINT NOT NULL,
    refused BIGINT NOT NULL,
    uncertain BIGINT NOT NULL,
    unpriced BIGINT NOT NULL,
    input_tokens BIGINT NOT NULL,
    output_tokens BIGINT NOT NULL,
    cache_read_tokens BIGINT NOT NULL,
    cache_write_5m_tokens BIGINT NOT NULL,
    cache_write_1h_tokens BIGINT NOT NULL,
    web_searches BIGINT NOT NULL,
    cost_nano_usd BIGINT NOT NULL,
    PRIMARY KEY (hour, session, agent, key_id, team, customer, user_id, model, provider)
);
CREATE INDEX usage_sessions_session ON usage_sessions (session, hour);
