-- Moments are Unix milliseconds; 0 means "not yet". JSON columns hold the
-- noun of package ivs. One text for SQLite and PostgreSQL: {{serial}} is an
-- ever-growing 64-bit primary key, by which lists are ordered.

CREATE TABLE settings (
	name  TEXT PRIMARY KEY,
	value TEXT NOT NULL
);

CREATE TABLE channels (
	seq              {{serial}},
	arn              TEXT NOT NULL UNIQUE,
	account          TEXT NOT NULL,
	region           TEXT NOT NULL,
	name             TEXT NOT NULL,
	latency_mode     TEXT NOT NULL,
	type             TEXT NOT NULL,
	preset           TEXT NOT NULL,
	authorized       BOOLEAN NOT NULL,
	insecure_ingest  BOOLEAN NOT NULL,
	recording_arn    TEXT NOT NULL,
	restriction_arn  TEXT NOT NULL,
	ad_arn           TEXT NOT NULL,
	container_format TEXT NOT NULL,
	multitrack       TEXT NOT NULL, -- JSON, null when not specified
	passphrase       TEXT NOT NULL,
	tags             TEXT NOT NULL  -- JSON
);
CREATE INDEX channels_list ON channels (account, region, seq);
CREATE INDEX channels_by_name ON channels (account, region, name, seq);
CREATE INDEX channels_by_recording ON channels (account, region, recording_arn, seq) WHERE recording_arn <> '';
CREATE INDEX channels_by_restriction ON channels (account, region, restriction_arn, seq) WHERE restriction_arn <> '';
CREATE INDEX channels_by_ad ON channels (account, region, ad_arn, seq) WHERE ad_arn <> '';

CREATE TABLE stream_keys (
	seq         {{serial}},
	arn         TEXT NOT NULL UNIQUE,
	account     TEXT NOT NULL,
	region      TEXT NOT NULL,
	channel_arn TEXT NOT NULL UNIQUE REFERENCES channels (arn) ON DELETE CASCADE, -- one key per channel, as IVS has it
	value       TEXT NOT NULL,
	digest      TEXT NOT NULL UNIQUE, -- SHA-256 of value, hex: what a key is looked up by
	tags        TEXT NOT NULL -- JSON
);

-- A session is one broadcast. It outlives its channel, so it refers to nothing.
-- While ended_at is 0 it is also the channel's lease: its owner publishes.
CREATE TABLE sessions (
	seq          {{serial}},
	stream_id    TEXT NOT NULL UNIQUE,
	account      TEXT NOT NULL,
	region       TEXT NOT NULL,
	channel_arn  TEXT NOT NULL,
	channel_name TEXT NOT NULL,
	owner        TEXT NOT NULL,   -- the node
	created_at   BIGINT NOT NULL, -- the encoder came
	started_at   BIGINT NOT NULL, -- went live
	left_at      BIGINT NOT NULL, -- the encoder left
	ended_at     BIGINT NOT NULL, -- went offline; the lease is free
	heartbeat_at BIGINT NOT NULL,
	health       TEXT NOT NULL,
	viewer_count BIGINT NOT NULL,
	has_error    BOOLEAN NOT NULL,
	channel      TEXT NOT NULL, -- JSON: the channel as it was
	recording    TEXT NOT NULL, -- JSON: its recording configuration, null without one
	ingest       TEXT NOT NULL  -- JSON: what the encoder sends, null until known
);
CREATE UNIQUE INDEX sessions_open ON sessions (channel_arn) WHERE ended_at = 0;
CREATE INDEX sessions_live ON sessions (account, region, seq) WHERE ended_at = 0;
CREATE INDEX sessions_list ON sessions (channel_arn, seq);
CREATE INDEX sessions_ended ON sessions (ended_at) WHERE ended_at > 0;

-- The history of the sessions, and in the order of seq what is to be told to
-- the world. A row is written by the transaction that makes it true.
CREATE TABLE events (
	seq          {{serial}},
	id           TEXT NOT NULL, -- UUID
	account      TEXT NOT NULL,
	region       TEXT NOT NULL,
	channel_arn  TEXT NOT NULL, -- empty for events of a whole account
	channel_name TEXT NOT NULL,
	stream_id    TEXT NOT NULL,
	type         TEXT NOT NULL, -- EventBridge detail-type
	name         TEXT NOT NULL,
	time         BIGINT NOT NULL,
	code         TEXT NOT NULL,
	detail       TEXT NOT NULL -- JSON: further members of the event's detail, null without
);
CREATE INDEX events_by_stream ON events (stream_id, seq);
