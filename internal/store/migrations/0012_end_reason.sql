-- Why the encoder of a session was refused or cut off, in the words that it was
-- told; empty where it left by itself.
ALTER TABLE sessions ADD COLUMN end_reason TEXT NOT NULL DEFAULT '';
