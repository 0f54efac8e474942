-- Whether the requests of a key go on that the audit log may miss: `best_effort`, or they are refused: `required` or empty.
ALTER TABLE keys ADD COLUMN audit TEXT NOT NULL DEFAULT '';
