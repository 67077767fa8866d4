-- Whom a provider's identity stands for here. An identity is the pair of issuer and subject and
-- nothing else: mail addresses change hands.
CREATE TABLE iam.oidc_link (
    id uuid PRIMARY KEY,
    issuer text NOT NULL CHECK (char_length(issuer) BETWEEN 1 AND 512),
    subject text NOT NULL CHECK (char_length(subject) BETWEEN 1 AND 255),
    operator_id uuid NOT NULL,
    linked_at timestamptz NOT NULL,
    ended_at timestamptz CHECK (ended_at >= linked_at),
    version int NOT NULL CHECK (version >= 1)
);
CREATE UNIQUE INDEX oidc_link_subject ON iam.oidc_link (issuer, subject) WHERE ended_at IS NULL;
CREATE INDEX oidc_link_operator ON iam.oidc_link (operator_id) WHERE ended_at IS NULL;
COMMENT ON TABLE iam.oidc_link IS 'Identities of an OpenID Connect provider that are linked to operators; they belong to the installation.';
COMMENT ON COLUMN iam.oidc_link.id IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.oidc_link.issuer IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.oidc_link.subject IS 'class=personal retention=journal';
COMMENT ON COLUMN iam.oidc_link.operator_id IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.oidc_link.linked_at IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.oidc_link.ended_at IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.oidc_link.version IS 'class=internal retention=journal';

-- A link is made and ended, never turned to somebody else.
GRANT SELECT, INSERT ON iam.oidc_link TO strongroom_pay;
GRANT UPDATE (ended_at, version) ON iam.oidc_link TO strongroom_pay;
GRANT SELECT (id, issuer, operator_id, linked_at, ended_at, version) ON iam.oidc_link TO strongroom_read;

-- What a session by a provider may be worth at most; the weaker of it and the account's role counts.
ALTER TABLE iam.operator_session ADD COLUMN role text
    CHECK (role IN ('operator-read', 'operator-admin'));
COMMENT ON COLUMN iam.operator_session.role IS 'class=internal retention=90d';
GRANT SELECT (role) ON iam.operator_session TO strongroom_read;
