-- After how long a second provider is asked beside the first, in milliseconds (NULL: never).
ALTER TABLE routes ADD COLUMN hedge_after_ms BIGINT;
