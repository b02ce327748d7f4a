-- When the end of a session was recorded, by the database's clock: its other times are
-- those of the node that had it, whose clock may be wrong. 0 before this migration.
ALTER TABLE sessions ADD COLUMN ended_clock BIGINT NOT NULL DEFAULT 0;

-- The program date at which the media of a recording's last stream ends; 0 while it
-- goes on. Another node compares it with what is in the bucket.
ALTER TABLE recordings ADD COLUMN media_end BIGINT NOT NULL DEFAULT 0;
