-- A lane holds what one target has not got yet of one channel, not of one
-- stream: the start of a stream never overtakes the end of the one before.
DROP INDEX events_by_lane;
CREATE INDEX events_by_lane ON events (channel_arn, feed);

DROP INDEX outbox_due;
ALTER TABLE outbox RENAME TO outbox_of_streams;
CREATE TABLE outbox (
	target        TEXT NOT NULL,
	lane          TEXT NOT NULL, -- the channel's ARN; resend/<event id> for an event that is sent again
	channel_arn   TEXT NOT NULL, -- empty for events of whole accounts
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

-- Lanes of the streams of one channel become one, from the first event that is
-- not delivered: those after it that are may be delivered again. A stream whose
-- session is deleted has no events any more.
INSERT INTO outbox (target, lane, channel_arn, after_feed, last_feed, attempts, due, owner, claimed_until, error)
SELECT o.target, CASE WHEN o.lane = o.stream_id THEN COALESCE(s.channel_arn, '') ELSE o.lane END, COALESCE(s.channel_arn, ''),
	MIN(o.after_feed), MAX(o.last_feed), 0, 0, '', 0, ''
FROM outbox_of_streams o LEFT JOIN sessions s ON s.stream_id = o.stream_id
WHERE o.stream_id = '' OR s.stream_id IS NOT NULL
GROUP BY 1, 2, 3;
DROP TABLE outbox_of_streams;
