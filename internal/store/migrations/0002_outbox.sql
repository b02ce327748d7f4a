-- Delivery of events. Sequence numbers of concurrent transactions become
-- visible in any order, so a reader that remembers the last one it has seen
-- would miss some. The feed is another numbering, given after the commit by one
-- transaction at a time: who has seen number n has seen all before it.
ALTER TABLE events ADD COLUMN feed BIGINT NOT NULL DEFAULT 0; -- 0 until it is numbered
UPDATE events SET feed = seq;
CREATE INDEX events_unnumbered ON events (seq) WHERE feed = 0;
CREATE UNIQUE INDEX events_by_feed ON events (feed) WHERE feed > 0;
CREATE UNIQUE INDEX events_by_id ON events (id);
CREATE INDEX events_by_lane ON events (stream_id, feed);

CREATE TABLE targets (
	name    TEXT PRIMARY KEY,
	kind    TEXT NOT NULL,
	seen_at BIGINT NOT NULL -- when a node last had it in its configuration
);

-- A lane holds what one target has not got yet of one stream: the stream's
-- events whose number in the feed is in (after_feed, last_feed]. A lane that is
-- delivered is deleted. An event that is sent again has a lane of its own.
CREATE TABLE outbox (
	target        TEXT NOT NULL,
	lane          TEXT NOT NULL, -- the stream's id; resend/<event id> for an event that is sent again
	stream_id     TEXT NOT NULL, -- empty for events of whole accounts
	after_feed    BIGINT NOT NULL,
	last_feed     BIGINT NOT NULL,
	attempts      BIGINT NOT NULL, -- that failed, of the lane's first event
	due           BIGINT NOT NULL, -- not to be tried before; 0 while no attempt has failed
	owner         TEXT NOT NULL,   -- the node that is delivering it
	claimed_until BIGINT NOT NULL,
	error         TEXT NOT NULL,   -- of the last attempt
	PRIMARY KEY (target, lane)
);
CREATE INDEX outbox_due ON outbox (target, due, after_feed);

CREATE TABLE dead_letters (
	target   TEXT NOT NULL,
	event_id TEXT NOT NULL,
	account  TEXT NOT NULL,
	region   TEXT NOT NULL,
	attempts BIGINT NOT NULL,
	at       BIGINT NOT NULL, -- given up
	error    TEXT NOT NULL,
	PRIMARY KEY (target, event_id)
);
CREATE INDEX dead_letters_list ON dead_letters (account, region, target, at);
