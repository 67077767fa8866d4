-- What may be used once, as SHA-256: nonces of signed requests, ids of tokens and proofs, codes.
CREATE TABLE iam.replay (
    digest bytea PRIMARY KEY CHECK (octet_length(digest) = 32),
    use_id uuid NOT NULL,
    kind text NOT NULL CHECK (kind ~ '^[a-z][a-z0-9_]{0,39}$'),
    expires_at timestamptz NOT NULL
);
CREATE INDEX replay_expires ON iam.replay (expires_at);
COMMENT ON TABLE iam.replay IS 'What was used once and must not be accepted again; belongs to no merchant, deleted after it expired.';
COMMENT ON COLUMN iam.replay.digest IS 'class=confidential retention=8d (SHA-256 of kind and value)';
COMMENT ON COLUMN iam.replay.use_id IS 'class=internal retention=8d';
COMMENT ON COLUMN iam.replay.kind IS 'class=internal retention=8d';
COMMENT ON COLUMN iam.replay.expires_at IS 'class=internal retention=8d';

-- Never updated: whoever inserts first has used it.
GRANT SELECT, INSERT, DELETE ON iam.replay TO strongroom_pay;
GRANT SELECT (kind, expires_at) ON iam.replay TO strongroom_read;
