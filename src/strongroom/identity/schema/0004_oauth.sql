-- OAuth 2 clients of merchants, their public keys, and the access tokens issued to them. No secret of
-- a client is ever here: it proves itself by signatures. Tokens stand here by their ids only.

CREATE TABLE iam.oauth_client (
    merchant_id uuid NOT NULL CHECK (merchant_id <> '00000000-0000-0000-0000-000000000000'),
    id uuid NOT NULL,
    role text NOT NULL CHECK (role IN ('merchant-backend', 'service-reveal')),
    scopes jsonb NOT NULL CHECK (jsonb_typeof(scopes) = 'array' AND jsonb_array_length(scopes) > 0),
    binding text NOT NULL CHECK (binding IN ('dpop', 'mtls', 'any')),
    owner text NOT NULL CHECK (char_length(owner) BETWEEN 1 AND 100),
    created_at timestamptz NOT NULL,
    created_by text NOT NULL,
    expires_at timestamptz NOT NULL CHECK (expires_at > created_at),
    keys_at timestamptz NOT NULL,
    revoked_at timestamptz,
    last_token_at timestamptz,
    version int NOT NULL CHECK (version >= 1),
    PRIMARY KEY (merchant_id, id),
    CONSTRAINT oauth_client_id_key UNIQUE (id)
);
COMMENT ON TABLE iam.oauth_client IS 'Services of merchants that ask for access tokens. keys_at: when their keys last changed.';
COMMENT ON COLUMN iam.oauth_client.merchant_id IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.oauth_client.id IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.oauth_client.role IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.oauth_client.scopes IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.oauth_client.binding IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.oauth_client.owner IS 'class=personal retention=journal';
COMMENT ON COLUMN iam.oauth_client.created_at IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.oauth_client.created_by IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.oauth_client.expires_at IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.oauth_client.keys_at IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.oauth_client.revoked_at IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.oauth_client.last_token_at IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.oauth_client.version IS 'class=internal retention=journal';

CREATE TABLE iam.oauth_client_key (
    merchant_id uuid NOT NULL,
    client_id uuid NOT NULL,
    id uuid NOT NULL,
    kid text NOT NULL CHECK (kid ~ '^[A-Za-z0-9._~-]{1,64}$'),
    algorithm text NOT NULL CHECK (algorithm IN ('ES256', 'Ed25519', 'PS256')),
    jwk jsonb NOT NULL CHECK (jsonb_typeof(jwk) = 'object' AND NOT jwk ?| ARRAY['d', 'k', 'p', 'q']),
    created_at timestamptz NOT NULL,
    retires_at timestamptz,
    PRIMARY KEY (merchant_id, client_id, id),
    CONSTRAINT oauth_client_key_kid UNIQUE (client_id, kid)
);
COMMENT ON TABLE iam.oauth_client_key IS 'Public keys of OAuth clients, as they were registered.';
COMMENT ON COLUMN iam.oauth_client_key.merchant_id IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.oauth_client_key.client_id IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.oauth_client_key.id IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.oauth_client_key.kid IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.oauth_client_key.algorithm IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.oauth_client_key.jwk IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.oauth_client_key.created_at IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.oauth_client_key.retires_at IS 'class=internal retention=journal';

CREATE TABLE iam.oauth_token (
    merchant_id uuid NOT NULL,
    id uuid NOT NULL,
    client_id uuid NOT NULL,
    role text NOT NULL,
    scopes jsonb NOT NULL CHECK (jsonb_typeof(scopes) = 'array' AND jsonb_array_length(scopes) > 0),
    binding text NOT NULL CHECK (binding IN ('dpop', 'mtls')),
    bound_to bytea NOT NULL CHECK (octet_length(bound_to) = 32),
    issued_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL CHECK (expires_at > issued_at),
    revoked_at timestamptz,
    version int NOT NULL CHECK (version >= 1),
    PRIMARY KEY (merchant_id, id),
    CONSTRAINT oauth_token_id_key UNIQUE (id)
);
CREATE INDEX oauth_token_expires ON iam.oauth_token (expires_at);
COMMENT ON TABLE iam.oauth_token IS 'Access tokens by id, until a while after they expire. bound_to: SHA-256 of the key they are bound to.';
COMMENT ON COLUMN iam.oauth_token.merchant_id IS 'class=internal retention=1d';
COMMENT ON COLUMN iam.oauth_token.id IS 'class=internal retention=1d';
COMMENT ON COLUMN iam.oauth_token.client_id IS 'class=internal retention=1d';
COMMENT ON COLUMN iam.oauth_token.role IS 'class=internal retention=1d';
COMMENT ON COLUMN iam.oauth_token.scopes IS 'class=internal retention=1d';
COMMENT ON COLUMN iam.oauth_token.binding IS 'class=internal retention=1d';
COMMENT ON COLUMN iam.oauth_token.bound_to IS 'class=internal retention=1d';
COMMENT ON COLUMN iam.oauth_token.issued_at IS 'class=internal retention=1d';
COMMENT ON COLUMN iam.oauth_token.expires_at IS 'class=internal retention=1d';
COMMENT ON COLUMN iam.oauth_token.revoked_at IS 'class=internal retention=1d';
COMMENT ON COLUMN iam.oauth_token.version IS 'class=internal retention=1d';

-- What a client may do is fixed when it is made; a key is added or ends, and never changes.
GRANT SELECT, INSERT ON iam.oauth_client, iam.oauth_client_key, iam.oauth_token TO strongroom_pay;
GRANT UPDATE (keys_at, revoked_at, last_token_at, version) ON iam.oauth_client TO strongroom_pay;
GRANT UPDATE (retires_at) ON iam.oauth_client_key TO strongroom_pay;
GRANT UPDATE (revoked_at, version) ON iam.oauth_token TO strongroom_pay;
GRANT DELETE ON iam.oauth_token TO strongroom_pay;
GRANT SELECT ON iam.oauth_client, iam.oauth_client_key, iam.oauth_token TO strongroom_read;

-- Who was revoked stays revoked, and what was retired never lasts longer.
CREATE FUNCTION iam.refuse_revived_oauth() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.revoked_at IS NOT NULL AND NEW.revoked_at IS DISTINCT FROM OLD.revoked_at THEN
        RAISE EXCEPTION 'iam.%: what was revoked stays revoked', TG_TABLE_NAME
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'oauth_stays_revoked';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER oauth_client_stays_revoked BEFORE UPDATE OF revoked_at ON iam.oauth_client
    FOR EACH ROW EXECUTE FUNCTION iam.refuse_revived_oauth();
CREATE TRIGGER oauth_token_stays_revoked BEFORE UPDATE OF revoked_at ON iam.oauth_token
    FOR EACH ROW EXECUTE FUNCTION iam.refuse_revived_oauth();

CREATE FUNCTION iam.refuse_longer_client_key() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.retires_at IS NOT NULL AND (NEW.retires_at IS NULL OR NEW.retires_at > OLD.retires_at) THEN
        RAISE EXCEPTION 'iam.oauth_client_key: the end of a key only comes nearer'
            USING ERRCODE = 'integrity_constraint_violation',
                CONSTRAINT = 'oauth_client_key_end_comes_nearer';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER oauth_client_key_gets_no_more BEFORE UPDATE OF retires_at ON iam.oauth_client_key
    FOR EACH ROW EXECUTE FUNCTION iam.refuse_longer_client_key();
