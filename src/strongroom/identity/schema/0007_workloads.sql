-- Services of the company that call the API on a certificate of the installation's own authority
-- instead of a key. The nil uuid in merchant_id is the installation itself. There is no secret here.
CREATE TABLE iam.workload (
    merchant_id uuid NOT NULL,
    id uuid NOT NULL,
    spiffe_id text NOT NULL CHECK (spiffe_id ~ '^spiffe://[a-z0-9._-]{1,255}/svc/[a-z][a-z0-9-]{0,39}$'),
    spiffe_digest bytea NOT NULL CHECK (octet_length(spiffe_digest) = 32),
    role text NOT NULL CHECK (role IN ('service-backend', 'service-tokens', 'service-monitor')),
    scopes jsonb CHECK (scopes IS NULL OR
        (jsonb_typeof(scopes) = 'array' AND jsonb_array_length(scopes) > 0)),
    owner text NOT NULL CHECK (char_length(owner) BETWEEN 1 AND 100),
    created_at timestamptz NOT NULL,
    created_by text NOT NULL,
    revoked_at timestamptz,
    version int NOT NULL CHECK (version >= 1),
    PRIMARY KEY (merchant_id, id),
    CONSTRAINT workload_monitor_is_installation CHECK (
        (role = 'service-monitor') = (merchant_id = '00000000-0000-0000-0000-000000000000')
    )
);
CREATE UNIQUE INDEX workload_one_living ON iam.workload (spiffe_digest) WHERE revoked_at IS NULL;
COMMENT ON TABLE iam.workload IS 'Services that may call the API on a workload certificate, and as what.';
COMMENT ON COLUMN iam.workload.merchant_id IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.workload.id IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.workload.spiffe_id IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.workload.spiffe_digest IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.workload.role IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.workload.scopes IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.workload.owner IS 'class=personal retention=journal';
COMMENT ON COLUMN iam.workload.created_at IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.workload.created_by IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.workload.revoked_at IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.workload.version IS 'class=internal retention=journal';

-- What a workload may do is fixed when it is registered: the serving role can only revoke it.
GRANT SELECT, INSERT ON iam.workload TO strongroom_pay;
GRANT UPDATE (revoked_at, version) ON iam.workload TO strongroom_pay;
GRANT SELECT ON iam.workload TO strongroom_read;
