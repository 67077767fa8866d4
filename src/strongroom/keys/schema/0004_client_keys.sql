-- Key pairs for client-side encryption: browsers and apps encrypt cards to the public keys, so that
-- nothing between them and the vault sees a number. The private seed stands here wrapped, and is
-- erased when the key is retired: a key that is gone opens nothing that was recorded on the wire.
-- When a key is published and how long it opens follow from created_at, state and state_at.

CREATE TABLE keys.client_key (
    id uuid PRIMARY KEY,
    suite text NOT NULL CHECK (suite IN ('jwe-p256', 'jwe-x25519', 'hpke-x25519', 'hpke-xwing')),
    version int NOT NULL CHECK (version >= 1),
    kek_id uuid NOT NULL REFERENCES keys.kek (id),
    algorithm text NOT NULL,
    public_key bytea NOT NULL CHECK (octet_length(public_key) BETWEEN 32 AND 2048),
    wrapped bytea CHECK (octet_length(wrapped) BETWEEN 40 AND 1024),
    kcv bytea NOT NULL CHECK (octet_length(kcv) = 16),
    state text NOT NULL
        CHECK (state IN ('pre_active', 'active', 'decrypt_only', 'compromised', 'destroyed')),
    created_at timestamptz NOT NULL,
    revision int NOT NULL CHECK (revision >= 1),
    state_at timestamptz NOT NULL,
    signature bytea NOT NULL CHECK (octet_length(signature) = 64),
    CONSTRAINT client_key_one_version UNIQUE (suite, version),
    CONSTRAINT client_key_destroyed_is_gone CHECK ((wrapped IS NULL) = (state = 'destroyed'))
);
COMMENT ON TABLE keys.client_key IS 'Key pairs for client-side encryption, one line of versions for each suite.';
COMMENT ON COLUMN keys.client_key.id IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.client_key.suite IS 'class=public retention=forever';
COMMENT ON COLUMN keys.client_key.version IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.client_key.kek_id IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.client_key.algorithm IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.client_key.public_key IS 'class=public retention=forever';
COMMENT ON COLUMN keys.client_key.wrapped IS 'class=secret retention=key-lifetime';
COMMENT ON COLUMN keys.client_key.kcv IS 'class=confidential retention=forever';
COMMENT ON COLUMN keys.client_key.state IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.client_key.created_at IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.client_key.revision IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.client_key.state_at IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.client_key.signature IS 'class=internal retention=forever';

CREATE TRIGGER client_key_goes_forward BEFORE UPDATE ON keys.client_key
    FOR EACH ROW EXECUTE FUNCTION keys.refuse_wrong_turn();

GRANT SELECT, INSERT ON keys.client_key TO strongroom_vault;
GRANT UPDATE (kek_id, wrapped, state, state_at, revision, signature) ON keys.client_key
    TO strongroom_vault;
