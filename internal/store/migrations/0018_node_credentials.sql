-- Digests of the root credentials that a node accepts, so that another one with
-- others is refused; empty for a node of a version before.
ALTER TABLE nodes ADD COLUMN credentials TEXT NOT NULL DEFAULT '';
