-- Four eyes: requests bound to the hash of one canonical action, decisions, and their one end.
-- Rows are only ever added: what was asked and decided cannot be rewritten by the role that serves.
-- The nil uuid in merchant_id is the installation itself. Macs are under the pepper of API keys,
-- which the database never sees: a row that was put here by other hands does not count.
CREATE TABLE iam.approval (
    merchant_id uuid NOT NULL,
    id uuid NOT NULL,
    action text NOT NULL CHECK (char_length(action) BETWEEN 3 AND 64),
    resource text NOT NULL CHECK (char_length(resource) BETWEEN 1 AND 100),
    parameters bytea NOT NULL CHECK (octet_length(parameters) <= 65536),
    action_sha256 bytea NOT NULL CHECK (octet_length(action_sha256) = 32),
    nonce bytea NOT NULL CHECK (octet_length(nonce) = 16),
    policy_set text NOT NULL,
    requester text NOT NULL CHECK (char_length(requester) BETWEEN 1 AND 100),
    person text,
    needed int NOT NULL CHECK (needed BETWEEN 1 AND 2),
    reason text NOT NULL CHECK (char_length(reason) BETWEEN 1 AND 500),
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL CHECK (expires_at > created_at),
    mac bytea NOT NULL CHECK (octet_length(mac) = 32),
    PRIMARY KEY (merchant_id, id),
    CONSTRAINT approval_id_key UNIQUE (id)
);
CREATE INDEX approval_expiry ON iam.approval (expires_at);
COMMENT ON TABLE iam.approval IS 'What somebody asks another person to approve, exactly.';
COMMENT ON COLUMN iam.approval.merchant_id IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.approval.id IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.approval.action IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.approval.resource IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.approval.parameters IS 'class=confidential retention=journal';
COMMENT ON COLUMN iam.approval.action_sha256 IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.approval.nonce IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.approval.policy_set IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.approval.requester IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.approval.person IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.approval.needed IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.approval.reason IS 'class=confidential retention=journal';
COMMENT ON COLUMN iam.approval.created_at IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.approval.expires_at IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.approval.mac IS 'class=internal retention=journal';

CREATE TABLE iam.approval_decision (
    merchant_id uuid NOT NULL,
    approval_id uuid NOT NULL,
    operator text NOT NULL CHECK (char_length(operator) BETWEEN 1 AND 100),
    id uuid NOT NULL,
    aal int NOT NULL CHECK (aal BETWEEN 2 AND 3),
    proved_at timestamptz NOT NULL,
    decided_at timestamptz NOT NULL,
    reason text NOT NULL CHECK (char_length(reason) BETWEEN 1 AND 500),
    mac bytea NOT NULL CHECK (octet_length(mac) = 32),
    PRIMARY KEY (merchant_id, approval_id, operator)
);
COMMENT ON TABLE iam.approval_decision IS 'Who approved, after which proof of being there; once each.';
COMMENT ON COLUMN iam.approval_decision.merchant_id IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.approval_decision.approval_id IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.approval_decision.operator IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.approval_decision.id IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.approval_decision.aal IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.approval_decision.proved_at IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.approval_decision.decided_at IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.approval_decision.reason IS 'class=confidential retention=journal';
COMMENT ON COLUMN iam.approval_decision.mac IS 'class=internal retention=journal';

-- One row ends a request for good: used, rejected or expired, whichever came first.
CREATE TABLE iam.approval_end (
    merchant_id uuid NOT NULL,
    approval_id uuid NOT NULL,
    id uuid NOT NULL,
    how text NOT NULL CHECK (how IN ('used', 'rejected', 'expired')),
    ended_at timestamptz NOT NULL,
    ended_by text NOT NULL,
    reason text CHECK (char_length(reason) BETWEEN 1 AND 500),
    used_for bytea CHECK (octet_length(used_for) = 32),
    PRIMARY KEY (merchant_id, approval_id)
);
COMMENT ON TABLE iam.approval_end IS 'How a request ended; its one row is what makes an approval good for one use.';
COMMENT ON COLUMN iam.approval_end.merchant_id IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.approval_end.approval_id IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.approval_end.id IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.approval_end.how IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.approval_end.ended_at IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.approval_end.ended_by IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.approval_end.reason IS 'class=confidential retention=journal';
COMMENT ON COLUMN iam.approval_end.used_for IS 'class=internal retention=journal';

GRANT SELECT, INSERT ON iam.approval, iam.approval_decision, iam.approval_end TO strongroom_pay;
GRANT SELECT ON iam.approval, iam.approval_decision, iam.approval_end TO strongroom_read;
