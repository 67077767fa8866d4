-- Short-lived certificates of services: more than one authority at a time, join tokens, revocation.
-- A join token stands here as the SHA-256 of its 256 random bits; its use is a row of its own that
-- only one can win. Revocations and uses are insert-only: what is ended stays ended. A certificate
-- is ended by a revocation of its own, of its service up to its version, or of its authority.
ALTER TABLE keys.certificate DROP CONSTRAINT certificate_role_check;
ALTER TABLE keys.certificate ADD CONSTRAINT certificate_role_check
    CHECK (role ~ '^[a-z][a-z0-9-]{0,39}$');
ALTER TABLE keys.certificate ADD COLUMN issuer int CHECK (issuer >= 1);
ALTER TABLE keys.certificate ADD COLUMN signs_from timestamptz;
ALTER TABLE keys.certificate ADD COLUMN renews uuid REFERENCES keys.certificate (id);
COMMENT ON COLUMN keys.certificate.issuer IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.certificate.signs_from IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.certificate.renews IS 'class=internal retention=forever';
CREATE INDEX certificate_by_end ON keys.certificate (not_after);
CREATE INDEX certificate_by_renewed ON keys.certificate (renews);

CREATE TABLE keys.certificate_revocation (
    certificate_id uuid PRIMARY KEY REFERENCES keys.certificate (id),
    revoked_at timestamptz NOT NULL,
    revoked_by text NOT NULL CHECK (length(revoked_by) <= 200),
    reason text NOT NULL CHECK (char_length(reason) BETWEEN 1 AND 500)
);
COMMENT ON TABLE keys.certificate_revocation IS 'Certificates that ended before their time. Any row revokes: one that was forged only takes power away.';
COMMENT ON COLUMN keys.certificate_revocation.certificate_id IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.certificate_revocation.revoked_at IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.certificate_revocation.revoked_by IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.certificate_revocation.reason IS 'class=internal retention=forever';

CREATE TABLE keys.service_revocation (
    id uuid PRIMARY KEY,
    service text NOT NULL CHECK (service ~ '^[a-z][a-z0-9-]{0,39}$'),
    up_to int NOT NULL CHECK (up_to >= 1),
    revoked_at timestamptz NOT NULL,
    revoked_by text NOT NULL CHECK (length(revoked_by) <= 200),
    reason text NOT NULL CHECK (char_length(reason) BETWEEN 1 AND 500)
);
COMMENT ON TABLE keys.service_revocation IS 'Services whose certificates ended, those that expired and could return among them: every one up to a version.';
COMMENT ON COLUMN keys.service_revocation.id IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.service_revocation.service IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.service_revocation.up_to IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.service_revocation.revoked_at IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.service_revocation.revoked_by IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.service_revocation.reason IS 'class=internal retention=forever';
CREATE INDEX service_revocation_by_service ON keys.service_revocation (service, up_to);

CREATE TABLE keys.join_token (
    id uuid PRIMARY KEY,
    digest bytea NOT NULL CHECK (octet_length(digest) = 32),
    service text NOT NULL CHECK (service ~ '^[a-z][a-z0-9-]{0,39}$'),
    created_at timestamptz NOT NULL,
    created_by text NOT NULL CHECK (length(created_by) <= 200),
    expires_at timestamptz NOT NULL CHECK (expires_at > created_at),
    CONSTRAINT join_token_one_digest UNIQUE (digest)
);
COMMENT ON TABLE keys.join_token IS 'Tokens that a service exchanges once for its first certificate.';
COMMENT ON COLUMN keys.join_token.id IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.join_token.digest IS 'class=secret retention=forever';
COMMENT ON COLUMN keys.join_token.service IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.join_token.created_at IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.join_token.created_by IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.join_token.expires_at IS 'class=internal retention=forever';

CREATE TABLE keys.join_use (
    token_id uuid PRIMARY KEY REFERENCES keys.join_token (id),
    used_at timestamptz NOT NULL
);
COMMENT ON TABLE keys.join_use IS 'The one use of a join token.';
COMMENT ON COLUMN keys.join_use.token_id IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.join_use.used_at IS 'class=internal retention=forever';

GRANT SELECT, INSERT ON keys.certificate_revocation, keys.service_revocation, keys.join_token,
    keys.join_use TO strongroom_vault;
