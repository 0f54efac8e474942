-- How often an administrator let a server of tools be tested; and how often, when a replica asked it last.
ALTER TABLE mcp_servers ADD COLUMN tests BIGINT NOT NULL DEFAULT 0;
ALTER TABLE mcp_observations ADD COLUMN tests BIGINT NOT NULL DEFAULT 0;
