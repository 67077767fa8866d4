-- Custodians and dual control. Every table here is insert-only for the service: what was enrolled,
-- asked, signed or used cannot be taken back by its own role. Records carry a MAC under a service
-- key, signatures are checked again at use: a row written past the service is refused.

CREATE TABLE keys.custodian (
    id uuid PRIMARY KEY,
    number int NOT NULL CHECK (number BETWEEN 1 AND 10000),
    name text NOT NULL CHECK (name ~ '^[a-z0-9][a-z0-9._-]{0,63}$'),
    signing_key bytea NOT NULL CHECK (octet_length(signing_key) = 32),
    exchange_key bytea NOT NULL CHECK (octet_length(exchange_key) = 32),
    acknowledged_at timestamptz NOT NULL,
    acknowledgement bytea NOT NULL CHECK (octet_length(acknowledgement) = 64),
    enrolled_at timestamptz NOT NULL,
    enrolled_by text NOT NULL,
    mac bytea NOT NULL CHECK (octet_length(mac) = 32),
    CONSTRAINT custodian_one_number UNIQUE (number),
    CONSTRAINT custodian_one_signing_key UNIQUE (signing_key),
    CONSTRAINT custodian_one_exchange_key UNIQUE (exchange_key)
);
COMMENT ON TABLE keys.custodian IS 'People who hold key shares and approve dangerous actions (PCI DSS 3.6.1.3, 3.7.6, 3.7.8).';
COMMENT ON COLUMN keys.custodian.id IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.custodian.number IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.custodian.name IS 'class=personal retention=forever';
COMMENT ON COLUMN keys.custodian.signing_key IS 'class=public retention=forever';
COMMENT ON COLUMN keys.custodian.exchange_key IS 'class=public retention=forever';
COMMENT ON COLUMN keys.custodian.acknowledged_at IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.custodian.acknowledgement IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.custodian.enrolled_at IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.custodian.enrolled_by IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.custodian.mac IS 'class=internal retention=forever';

CREATE TABLE keys.custodian_revocation (
    custodian_id uuid PRIMARY KEY REFERENCES keys.custodian (id),
    revoked_at timestamptz NOT NULL,
    revoked_by text NOT NULL,
    reason text NOT NULL CHECK (char_length(reason) <= 500)
);
COMMENT ON TABLE keys.custodian_revocation IS 'Custodians who left. Any row revokes: one that was forged only takes power away.';
COMMENT ON COLUMN keys.custodian_revocation.custodian_id IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.custodian_revocation.revoked_at IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.custodian_revocation.revoked_by IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.custodian_revocation.reason IS 'class=internal retention=forever';

CREATE TABLE keys.approval (
    id uuid PRIMARY KEY,
    action text NOT NULL CHECK (char_length(action) <= 64),
    payload bytea NOT NULL CHECK (octet_length(payload) <= 4096),
    requester text NOT NULL CHECK (char_length(requester) <= 200),
    asked_by text NOT NULL CHECK (char_length(asked_by) <= 200),
    reason text NOT NULL CHECK (char_length(reason) <= 500),
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    mac bytea NOT NULL CHECK (octet_length(mac) = 32)
);
COMMENT ON TABLE keys.approval IS 'Requests for an action that one person must not do alone.';
COMMENT ON COLUMN keys.approval.id IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.approval.action IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.approval.payload IS 'class=confidential retention=forever';
COMMENT ON COLUMN keys.approval.requester IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.approval.asked_by IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.approval.reason IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.approval.created_at IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.approval.expires_at IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.approval.mac IS 'class=internal retention=forever';

CREATE TABLE keys.approval_signature (
    approval_id uuid NOT NULL REFERENCES keys.approval (id),
    custodian_id uuid NOT NULL REFERENCES keys.custodian (id),
    id uuid NOT NULL UNIQUE,
    decision text NOT NULL CHECK (decision IN ('approve', 'reject')),
    proof text NOT NULL CHECK (proof ~ '^[a-z0-9-]{1,32}$'),
    signed_at timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
    signature bytea NOT NULL CHECK (octet_length(signature) BETWEEN 64 AND 4096),
    PRIMARY KEY (approval_id, custodian_id)
);
COMMENT ON TABLE keys.approval_signature IS 'What custodians signed about a request; proof names the kind of signature.';
COMMENT ON COLUMN keys.approval_signature.approval_id IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.approval_signature.custodian_id IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.approval_signature.id IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.approval_signature.decision IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.approval_signature.proof IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.approval_signature.signed_at IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.approval_signature.received_at IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.approval_signature.signature IS 'class=internal retention=forever';

CREATE TABLE keys.redemption (
    approval_id uuid PRIMARY KEY REFERENCES keys.approval (id),
    redeemed_at timestamptz NOT NULL,
    redeemed_by text NOT NULL
);
COMMENT ON TABLE keys.redemption IS 'Approvals that were used: its primary key makes an approval good for one use.';
COMMENT ON COLUMN keys.redemption.approval_id IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.redemption.redeemed_at IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.redemption.redeemed_by IS 'class=internal retention=forever';

GRANT SELECT, INSERT ON keys.custodian, keys.custodian_revocation, keys.approval,
    keys.approval_signature, keys.redemption TO strongroom_vault;
