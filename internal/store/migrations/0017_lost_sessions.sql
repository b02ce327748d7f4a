-- The session was ended by another node, or by a later start of its own. What its
-- node has still to write of it is left out: it was paused, or cut off.
ALTER TABLE sessions ADD COLUMN lost BOOLEAN NOT NULL DEFAULT FALSE;
