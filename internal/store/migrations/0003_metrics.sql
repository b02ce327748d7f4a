-- Series of measurements, a minute or an hour of them to a row. A session's
-- rows are its own: a session that went on after a crash does not exist, so
-- they are replaced and never merged.
CREATE TABLE metrics (
	stream_id   TEXT NOT NULL,
	channel_arn TEXT NOT NULL,
	period      BIGINT NOT NULL, -- seconds between two points
	start       BIGINT NOT NULL, -- Unix seconds
	data        BYTEA NOT NULL,  -- as package meter encodes it
	PRIMARY KEY (stream_id, period, start)
);
CREATE INDEX metrics_by_channel ON metrics (channel_arn, period, start);
CREATE INDEX metrics_by_age ON metrics (period, start);
CREATE INDEX events_of_accounts ON events (time) WHERE stream_id = '';
