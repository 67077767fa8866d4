-- Merchants and the keys of callers. Keys stand here as keyed hashes only.
-- The nil uuid in api_key.merchant_id is the installation itself: operator keys belong to it.
CREATE TABLE iam.merchant (
    merchant_id uuid PRIMARY KEY CHECK (merchant_id <> '00000000-0000-0000-0000-000000000000'),
    name text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 100),
    status text NOT NULL CHECK (status IN ('active', 'suspended')),
    created_at timestamptz NOT NULL,
    version int NOT NULL CHECK (version >= 1)
);
COMMENT ON TABLE iam.merchant IS 'The tenants of this installation; never deleted, because the journal names them.';
COMMENT ON COLUMN iam.merchant.merchant_id IS 'class=internal retention=forever';
COMMENT ON COLUMN iam.merchant.name IS 'class=confidential retention=forever';
COMMENT ON COLUMN iam.merchant.status IS 'class=internal retention=forever';
COMMENT ON COLUMN iam.merchant.created_at IS 'class=internal retention=forever';
COMMENT ON COLUMN iam.merchant.version IS 'class=internal retention=forever';

CREATE TABLE iam.api_key (
    merchant_id uuid NOT NULL,
    id uuid NOT NULL,
    hash bytea NOT NULL CHECK (octet_length(hash) = 32),
    kind text NOT NULL CHECK (kind IN ('sk', 'pk', 'rk')),
    role text NOT NULL,
    scopes jsonb CHECK (scopes IS NULL OR
        (jsonb_typeof(scopes) = 'array' AND jsonb_array_length(scopes) > 0)),
    owner text NOT NULL CHECK (char_length(owner) BETWEEN 1 AND 100),
    hint text NOT NULL CHECK (char_length(hint) BETWEEN 1 AND 20),
    created_at timestamptz NOT NULL,
    created_by text NOT NULL,
    expires_at timestamptz CHECK (expires_at > created_at),
    revoked_at timestamptz,
    version int NOT NULL CHECK (version >= 1),
    PRIMARY KEY (merchant_id, id),
    CONSTRAINT api_key_hash_key UNIQUE (hash),
    CONSTRAINT api_key_role_of_kind CHECK (
        (kind = 'sk' AND role = 'merchant-backend' AND scopes IS NULL)
        OR (kind = 'pk' AND role = 'merchant-publishable' AND scopes IS NULL)
        OR (kind = 'rk' AND role = 'merchant-backend' AND scopes IS NOT NULL)
        OR (kind = 'rk' AND role IN ('operator-read', 'operator-admin'))
    ),
    CONSTRAINT api_key_operator_is_installation CHECK (
        (role IN ('operator-read', 'operator-admin'))
        = (merchant_id = '00000000-0000-0000-0000-000000000000')
    ),
    CONSTRAINT api_key_operator_expires CHECK (
        merchant_id <> '00000000-0000-0000-0000-000000000000' OR expires_at IS NOT NULL
    )
);
COMMENT ON TABLE iam.api_key IS 'Keys of callers as HMAC-SHA-256 under a pepper that the database never sees.';
COMMENT ON COLUMN iam.api_key.merchant_id IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.api_key.id IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.api_key.hash IS 'class=secret retention=journal';
COMMENT ON COLUMN iam.api_key.kind IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.api_key.role IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.api_key.scopes IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.api_key.owner IS 'class=personal retention=journal';
COMMENT ON COLUMN iam.api_key.hint IS 'class=confidential retention=journal';
COMMENT ON COLUMN iam.api_key.created_at IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.api_key.created_by IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.api_key.expires_at IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.api_key.revoked_at IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.api_key.version IS 'class=internal retention=journal';

-- Apart from api_key, so that noting a use never touches the row that a revocation guards.
CREATE TABLE iam.api_key_use (
    merchant_id uuid NOT NULL,
    key_id uuid NOT NULL,
    last_used_at timestamptz,
    PRIMARY KEY (merchant_id, key_id)
);
COMMENT ON TABLE iam.api_key_use IS 'When a key was last accepted, to the minute.';
COMMENT ON COLUMN iam.api_key_use.merchant_id IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.api_key_use.key_id IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.api_key_use.last_used_at IS 'class=internal retention=journal';

-- What a key may do is fixed when it is made: the serving role can only revoke it.
GRANT SELECT, INSERT ON iam.merchant, iam.api_key, iam.api_key_use TO strongroom_pay;
GRANT UPDATE (status, version) ON iam.merchant TO strongroom_pay;
GRANT UPDATE (revoked_at, version) ON iam.api_key TO strongroom_pay;
GRANT UPDATE (last_used_at) ON iam.api_key_use TO strongroom_pay;

GRANT SELECT ON iam.merchant, iam.api_key_use TO strongroom_read;
GRANT SELECT (merchant_id, id, kind, role, scopes, owner, hint, created_at, created_by, expires_at,
    revoked_at, version) ON iam.api_key TO strongroom_read;
