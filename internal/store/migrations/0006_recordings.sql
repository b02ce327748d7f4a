-- A recording is a prefix in a bucket, with what a stream, or several that were
-- merged, have put there. It outlives its channel, so it refers to nothing.
-- While ended_at is 0, its owner alone writes objects under the prefix.
CREATE TABLE recordings (
	seq         {{serial}},
	id          TEXT NOT NULL UNIQUE, -- the last element of the prefix
	session_id  TEXT NOT NULL,        -- recording_session_id of the events
	account     TEXT NOT NULL,
	region      TEXT NOT NULL,
	channel_arn TEXT NOT NULL,
	owner       TEXT NOT NULL,   -- the node that has its spool
	bucket      TEXT NOT NULL,
	prefix      TEXT NOT NULL,
	streams     TEXT NOT NULL,   -- JSON: stream ids, oldest first
	created_at  BIGINT NOT NULL,
	started_at  BIGINT NOT NULL, -- Recording Start; 0 before
	ended_at    BIGINT NOT NULL, -- Recording End, or a failure; 0 before
	failure     TEXT NOT NULL,   -- why it failed, empty if it did not
	duration_ms BIGINT NOT NULL, -- of the longest rendition
	bytes       BIGINT NOT NULL, -- of media
	renditions  TEXT NOT NULL    -- JSON
);
CREATE INDEX recordings_open ON recordings (owner) WHERE ended_at = 0;
CREATE INDEX recordings_list ON recordings (channel_arn, seq);
CREATE INDEX recordings_ended ON recordings (ended_at) WHERE ended_at > 0;
