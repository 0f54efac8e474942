-- What must hold of the arguments of calls of a key, as JSON.
ALTER TABLE keys ADD COLUMN tool_rules TEXT NOT NULL DEFAULT '[]';

-- What an HTTP API can, as JSON; empty for a server that is none. `oauth` is JSON, and empty where no token is got for the server. `grants`
-- grows whenever the tokens that were got are no longer used.
ALTER TABLE mcp_servers ADD COLUMN document TEXT NOT NULL DEFAULT '';
ALTER TABLE mcp_servers ADD COLUMN oauth TEXT NOT NULL DEFAULT '';
ALTER TABLE mcp_servers ADD COLUMN grants BIGINT NOT NULL DEFAULT 0;
