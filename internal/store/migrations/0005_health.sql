-- Live streams by health, in the order of their list.
CREATE INDEX sessions_by_health ON sessions (account, region, health, seq) WHERE ended_at = 0;
