-- What channels refer to, and the keys of tokens. Each is small and few, so the
-- noun is kept whole.
CREATE TABLE resources (
	seq     {{serial}},
	arn     TEXT NOT NULL UNIQUE,
	account TEXT NOT NULL,
	region  TEXT NOT NULL,
	type    TEXT NOT NULL, -- as in the ARN
	digest  TEXT NOT NULL, -- what no two of an account, region and type may share; the ARN where that is nothing
	pending BOOLEAN NOT NULL, -- its state is still to be settled
	body    TEXT NOT NULL, -- JSON: the noun without its tags
	tags    TEXT NOT NULL  -- JSON
);
CREATE UNIQUE INDEX resources_digest ON resources (account, region, type, digest);
CREATE INDEX resources_list ON resources (account, region, type, seq);
CREATE INDEX resources_pending ON resources (seq) WHERE pending;

-- Viewers whose sessions up to a version have been revoked.
CREATE TABLE revocations (
	channel_arn TEXT NOT NULL REFERENCES channels (arn) ON DELETE CASCADE,
	viewer_id   TEXT NOT NULL,
	version     BIGINT NOT NULL,
	at          BIGINT NOT NULL,
	PRIMARY KEY (channel_arn, viewer_id)
);
CREATE INDEX revocations_by_age ON revocations (at);
