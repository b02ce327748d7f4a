-- The thumbnails of a recording that are numbered from 0 on, and how far apart
-- its configuration wants them.
ALTER TABLE recordings ADD COLUMN thumbnails BIGINT NOT NULL DEFAULT 0;
ALTER TABLE recordings ADD COLUMN thumbnail_ms BIGINT NOT NULL DEFAULT 0;
