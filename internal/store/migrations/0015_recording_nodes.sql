-- Media that was live and is not in the bucket, and the node that asks the owner
-- of a recording for it, because the channel's next stream is there.
ALTER TABLE recordings ADD COLUMN lost_ms BIGINT NOT NULL DEFAULT 0;
ALTER TABLE recordings ADD COLUMN wanted_by TEXT NOT NULL DEFAULT '';
