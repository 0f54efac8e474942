-- Budgets: what is configured, and the books of what is lent and spent. A change of the configuration cannot touch the books.

-- One row a budget of a customer, team, user or key. `create_time` is where rolling windows begin. `limits` and
-- `session_limit` of the owners are JSON. A budget that its owner no longer has is retired, since the books refer to it; a
-- retired one names no provider, so that the provider can be deleted.
CREATE TABLE budgets (
    id TEXT PRIMARY KEY,
    owner_kind TEXT NOT NULL CHECK (owner_kind IN ('customer', 'team', 'user', 'key')),
    owner TEXT NOT NULL,
    position BIGINT NOT NULL,
    limit_nano_usd BIGINT NOT NULL CHECK (limit_nano_usd > 0),
    period TEXT NOT NULL,
    alignment TEXT NOT NULL CHECK (alignment IN ('rolling', 'calendar')),
    time_zone TEXT NOT NULL,
    models TEXT NOT NULL,
    provider TEXT REFERENCES providers (id),
    enforcement TEXT NOT NULL CHECK (enforcement IN ('hard', 'soft')),
    holding TEXT NOT NULL CHECK (holding IN ('auto', 'strict', 'incremental')),
    thresholds TEXT NOT NULL,
    grace_nano_usd BIGINT NOT NULL,
    grace_ms BIGINT NOT NULL,
    contact TEXT NOT NULL,
    create_time BIGINT NOT NULL,
    created BIGINT NOT NULL,
    retired BIGINT NOT NULL
);
CREATE INDEX budgets_owner ON budgets (owner, position);
CREATE INDEX budgets_created ON budgets (created, id);
CREATE INDEX budgets_provider ON budgets (provider);

ALTER TABLE customers ADD COLUMN limits TEXT NOT NULL DEFAULT '[]';
ALTER TABLE customers ADD COLUMN session_limit TEXT;
ALTER TABLE teams ADD COLUMN limits TEXT NOT NULL DEFAULT '[]';
ALTER TABLE teams ADD COLUMN session_limit TEXT;
ALTER TABLE users ADD COLUMN limits TEXT NOT NULL DEFAULT '[]';
ALTER TABLE users ADD COLUMN session_limit TEXT;
ALTER TABLE keys ADD COLUMN limits TEXT NOT NULL DEFAULT '[]';
ALTER TABLE keys ADD COLUMN session_limit TEXT;

-- The books: a budget in one window. `end_ms` is null for a window that never ends. `leased` is the sum of what is outstanding
-- over its leases. `alerted` is the highest threshold, in percent, that was told of. `scarce_time` is when somebody last
-- asked for more than was free. A window is never changed back: the next one is a new row.
CREATE TABLE budget_windows (
    budget TEXT NOT NULL REFERENCES budgets (id),
    start_ms BIGINT NOT NULL,
    end_ms BIGINT,
    settled BIGINT NOT NULL,
    leased BIGINT NOT NULL CHECK (leased >= 0),
    alerted BIGINT NOT NULL,
    scarce_time BIGINT NOT NULL,
    PRIMARY KEY (budget, start_ms)
);
CREATE INDEX budget_windows_scarce ON budget_windows (scarce_time);

-- What one run of a replica borrowed from a window: totals that only grow. Outstanding: granted - returned - settled.
CREATE TABLE budget_leases (
    budget TEXT NOT NULL,
    start_ms BIGINT NOT NULL,
    replica TEXT NOT NULL,
    incarnation BIGINT NOT NULL,
    granted BIGINT NOT NULL,
    returned BIGINT NOT NULL,
    settled BIGINT NOT NULL,
    PRIMARY KEY (budget, start_ms, replica, incarnation),
    FOREIGN KEY (budget, start_ms) REFERENCES budget_windows (budget, start_ms)
);
CREATE INDEX budget_leases_replica ON budget_leases (replica, incarnation);

-- The newest run of each replica that asked for funds. An older one obtains nothing and frees nothing.
CREATE TABLE lease_runs (
    replica TEXT PRIMARY KEY,
    incarnation BIGINT NOT NULL
);

-- Corrections of what was spent: rows are added, never changed. `request_id` makes a correction at most once.
CREATE TABLE budget_adjustments (
    id TEXT PRIMARY KEY,
    budget TEXT NOT NULL,
    start_ms BIGINT NOT NULL,
    amount BIGINT NOT NULL,
    principal TEXT NOT NULL,
    reason TEXT NOT NULL,
    request_id TEXT UNIQUE,
    time BIGINT NOT NULL,
    FOREIGN KEY (budget, start_ms) REFERENCES budget_windows (budget, start_ms)
);
CREATE INDEX budget_adjustments_budget ON budget_adjustments (budget, time);

-- What was charged in each five minutes, for the rate at which a budget burns. Old rows are removed.
CREATE TABLE budget_spend (
    budget TEXT NOT NULL,
    slot BIGINT NOT NULL,
    amount BIGINT NOT NULL,
    PRIMARY KEY (budget, slot)
);

-- Alerts that wait to be delivered to the webhook. `body` is sent as it is.
CREATE TABLE webhook_deliveries (
    id TEXT PRIMARY KEY,
    body TEXT NOT NULL,
    create_time BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    next_time BIGINT NOT NULL
);
CREATE INDEX webhook_deliveries_next ON webhook_deliveries (next_time);

-- The budgets that a visit was charged to: a JSON array of {"budget", "window_ms"}.
ALTER TABLE usage_records ADD COLUMN charges TEXT NOT NULL DEFAULT '[]';
-- The run that borrowed what the cost is paid from; 0: the run that reports it.
ALTER TABLE usage_records ADD COLUMN held_incarnation BIGINT NOT NULL DEFAULT 0;
