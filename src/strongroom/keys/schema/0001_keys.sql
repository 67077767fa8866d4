-- Keys: only ever wrapped (AES-256-GCM with the key record as additional data). The root key is not
-- here; it never leaves its provider. Only the vault's role may touch this schema.

CREATE TABLE keys.kek (
    id uuid PRIMARY KEY,
    purpose text NOT NULL CHECK (purpose IN ('data', 'index', 'token', 'audit')),
    region text NOT NULL CHECK (region ~ '^[a-z0-9-]{1,32}$'),
    version int NOT NULL CHECK (version >= 1),
    root_id text NOT NULL,
    algorithm text NOT NULL CHECK (algorithm = 'A256GCM'),
    wrapped bytea NOT NULL CHECK (octet_length(wrapped) BETWEEN 40 AND 1024),
    kcv bytea NOT NULL CHECK (octet_length(kcv) = 16),
    state text NOT NULL CHECK (state IN ('active', 'decrypt_only', 'compromised', 'destroyed')),
    created_at timestamptz NOT NULL,
    CONSTRAINT kek_one_version UNIQUE (purpose, region, version)
);
COMMENT ON TABLE keys.kek IS 'Key-encryption keys by purpose and region, wrapped by the root.';
COMMENT ON COLUMN keys.kek.id IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.kek.purpose IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.kek.region IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.kek.version IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.kek.root_id IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.kek.algorithm IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.kek.wrapped IS 'class=secret retention=key-lifetime';
COMMENT ON COLUMN keys.kek.kcv IS 'class=confidential retention=forever';
COMMENT ON COLUMN keys.kek.state IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.kek.created_at IS 'class=internal retention=forever';

CREATE TABLE keys.dek (
    merchant_id uuid NOT NULL,
    version int NOT NULL CHECK (version >= 1),
    id uuid NOT NULL UNIQUE,
    kek_id uuid NOT NULL REFERENCES keys.kek (id),
    algorithm text NOT NULL CHECK (algorithm = 'A256GCM'),
    wrapped bytea NOT NULL CHECK (octet_length(wrapped) BETWEEN 40 AND 1024),
    kcv bytea NOT NULL CHECK (octet_length(kcv) = 16),
    state text NOT NULL CHECK (state IN ('active', 'decrypt_only', 'compromised', 'destroyed')),
    reserved bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (merchant_id, version),
    CONSTRAINT dek_usage_limit CHECK (reserved BETWEEN 0 AND 4294967296)
) WITH (fillfactor = 70);
COMMENT ON TABLE keys.dek IS 'Data-encryption keys of merchants. reserved: uses set aside in blocks before they happen, so that a crash cannot under-count (SP 800-38D section 8.3).';
COMMENT ON COLUMN keys.dek.merchant_id IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.dek.version IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.dek.id IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.dek.kek_id IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.dek.algorithm IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.dek.wrapped IS 'class=secret retention=key-lifetime';
COMMENT ON COLUMN keys.dek.kcv IS 'class=confidential retention=forever';
COMMENT ON COLUMN keys.dek.state IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.dek.reserved IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.dek.created_at IS 'class=internal retention=forever';

CREATE TABLE keys.index_key (
    merchant_id uuid NOT NULL,
    version int NOT NULL CHECK (version >= 1),
    id uuid NOT NULL UNIQUE,
    kek_id uuid NOT NULL REFERENCES keys.kek (id),
    algorithm text NOT NULL CHECK (algorithm = 'HS256'),
    wrapped bytea NOT NULL CHECK (octet_length(wrapped) BETWEEN 40 AND 1024),
    kcv bytea NOT NULL CHECK (octet_length(kcv) = 16),
    state text NOT NULL CHECK (state IN ('active', 'decrypt_only', 'compromised', 'destroyed')),
    created_at timestamptz NOT NULL,
    PRIMARY KEY (merchant_id, version)
);
COMMENT ON TABLE keys.index_key IS 'Keys of card fingerprints, one for each merchant so that fingerprints cannot be linked across merchants.';
COMMENT ON COLUMN keys.index_key.merchant_id IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.index_key.version IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.index_key.id IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.index_key.kek_id IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.index_key.algorithm IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.index_key.wrapped IS 'class=secret retention=key-lifetime';
COMMENT ON COLUMN keys.index_key.kcv IS 'class=confidential retention=forever';
COMMENT ON COLUMN keys.index_key.state IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.index_key.created_at IS 'class=internal retention=forever';

CREATE TABLE keys.service_key (
    id uuid PRIMARY KEY,
    purpose text NOT NULL CHECK (purpose IN ('journal-signing', 'api-key-pepper')),
    version int NOT NULL CHECK (version >= 1),
    kek_id uuid NOT NULL REFERENCES keys.kek (id),
    algorithm text NOT NULL CHECK (algorithm IN ('Ed25519', 'HS256')),
    wrapped bytea NOT NULL CHECK (octet_length(wrapped) BETWEEN 40 AND 1024),
    kcv bytea NOT NULL CHECK (octet_length(kcv) = 16),
    public_key bytea,
    state text NOT NULL CHECK (state IN ('active', 'decrypt_only', 'compromised', 'destroyed')),
    created_at timestamptz NOT NULL,
    CONSTRAINT service_key_one_version UNIQUE (purpose, version)
);
COMMENT ON TABLE keys.service_key IS 'Keys of the installation itself: the journal''s signing key and the pepper of API keys.';
COMMENT ON COLUMN keys.service_key.id IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.service_key.purpose IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.service_key.version IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.service_key.kek_id IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.service_key.algorithm IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.service_key.wrapped IS 'class=secret retention=key-lifetime';
COMMENT ON COLUMN keys.service_key.kcv IS 'class=confidential retention=forever';
COMMENT ON COLUMN keys.service_key.public_key IS 'class=public retention=forever';
COMMENT ON COLUMN keys.service_key.state IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.service_key.created_at IS 'class=internal retention=forever';

-- The wrapped bytes of a key never change in place; state and usage are all that may be updated.
GRANT SELECT, INSERT ON keys.kek, keys.dek, keys.index_key, keys.service_key TO strongroom_vault;
GRANT UPDATE (state, reserved) ON keys.dek TO strongroom_vault;
GRANT UPDATE (state) ON keys.kek, keys.index_key, keys.service_key TO strongroom_vault;
