-- What certificates by ACME need to be kept: accounts, certificates and their
-- keys, challenges that are under way. Keys are paths.
CREATE TABLE acme (
	key         TEXT PRIMARY KEY,
	value       TEXT NOT NULL,
	modified_at BIGINT NOT NULL
);

-- Who asks for a certificate, so that only one node does at a time.
CREATE TABLE acme_locks (
	name       TEXT PRIMARY KEY,
	owner      TEXT NOT NULL,
	expires_at BIGINT NOT NULL -- by the database's clock
);
