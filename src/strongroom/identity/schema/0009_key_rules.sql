-- Where a key may be used from, which key it takes the place of, and under which pepper its hash is.
ALTER TABLE iam.api_key ADD COLUMN networks jsonb CHECK (networks IS NULL OR
    (jsonb_typeof(networks) = 'array' AND jsonb_array_length(networks) BETWEEN 1 AND 50));
ALTER TABLE iam.api_key ADD COLUMN replaces uuid;
ALTER TABLE iam.api_key ADD COLUMN pepper_version int NOT NULL DEFAULT 1 CHECK (pepper_version >= 1);
COMMENT ON COLUMN iam.api_key.networks IS 'class=confidential retention=journal (networks it may be used from; null: all)';
COMMENT ON COLUMN iam.api_key.replaces IS 'class=internal retention=journal (the key it was made from by rotation)';
COMMENT ON COLUMN iam.api_key.pepper_version IS 'class=internal retention=journal (the pepper its hash is made under)';
GRANT SELECT (networks, replaces, pepper_version) ON iam.api_key TO strongroom_read;
GRANT UPDATE (expires_at, hash, pepper_version) ON iam.api_key TO strongroom_pay;

-- What ends a key may change, and its hash may move to a newer pepper; nothing gives a key more.
CREATE FUNCTION iam.refuse_more_of_a_key() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.revoked_at IS NOT NULL AND NEW.revoked_at IS DISTINCT FROM OLD.revoked_at THEN
        RAISE EXCEPTION 'iam.api_key: a revoked key stays revoked'
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'api_key_stays_revoked';
    END IF;
    IF NEW.expires_at IS DISTINCT FROM OLD.expires_at
        AND (NEW.expires_at IS NULL OR NEW.expires_at > OLD.expires_at) THEN
        RAISE EXCEPTION 'iam.api_key: the end of a key only comes nearer'
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'api_key_end_comes_nearer';
    END IF;
    IF NEW.hash <> OLD.hash AND NEW.pepper_version <= OLD.pepper_version THEN
        RAISE EXCEPTION 'iam.api_key: a hash moves to a newer pepper only'
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'api_key_hash_moves_on';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER api_key_gets_no_more
    BEFORE UPDATE OF expires_at, revoked_at, hash, pepper_version ON iam.api_key
    FOR EACH ROW EXECUTE FUNCTION iam.refuse_more_of_a_key();

-- A hash may not come under a pepper that was destroyed: the lock makes the two wait for each other.
CREATE FUNCTION iam.refuse_destroyed_pepper() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    pepper text;
BEGIN
    SELECT state INTO pepper FROM keys.service_key
        WHERE purpose = 'api-key-pepper' AND version = NEW.pepper_version FOR SHARE;
    IF pepper IN ('destroyed', 'compromised') THEN
        RAISE EXCEPTION 'iam.api_key: pepper % is out of use', NEW.pepper_version
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'api_key_pepper_in_use';
    END IF;
    RETURN NEW;
END
$$;
REVOKE ALL ON FUNCTION iam.refuse_destroyed_pepper() FROM PUBLIC;
CREATE TRIGGER api_key_pepper_lives BEFORE INSERT OR UPDATE OF hash ON iam.api_key
    FOR EACH ROW EXECUTE FUNCTION iam.refuse_destroyed_pepper();

-- How many keys still need a pepper: all that may be used again. The vault counts, and sees no more.
CREATE FUNCTION keys.hashes_under_pepper(wanted int) RETURNS bigint
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT count(*) FROM iam.api_key
    WHERE pepper_version = wanted AND revoked_at IS NULL
        AND (expires_at IS NULL OR expires_at > now())
$$;
REVOKE ALL ON FUNCTION keys.hashes_under_pepper(int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keys.hashes_under_pepper(int) TO strongroom_vault;

-- The lowest level of authentication that a merchant takes: 1 API key, 2 bound token, 3 signed request.
ALTER TABLE iam.merchant ADD COLUMN required_level smallint NOT NULL DEFAULT 1
    CHECK (required_level BETWEEN 1 AND 3);
COMMENT ON COLUMN iam.merchant.required_level IS 'class=internal retention=forever';
GRANT UPDATE (required_level) ON iam.merchant TO strongroom_pay;

-- Public keys under which merchants sign their requests. Unique for ever: a revoked one stays revoked.
CREATE TABLE iam.signing_key (
    merchant_id uuid NOT NULL CHECK (merchant_id <> '00000000-0000-0000-0000-000000000000'),
    id uuid NOT NULL,
    public_key bytea NOT NULL CHECK (octet_length(public_key) = 32),
    role text NOT NULL CHECK (role IN ('merchant-backend', 'service-reveal')),
    scopes jsonb CHECK (scopes IS NULL OR
        (jsonb_typeof(scopes) = 'array' AND jsonb_array_length(scopes) > 0)),
    networks jsonb CHECK (networks IS NULL OR
        (jsonb_typeof(networks) = 'array' AND jsonb_array_length(networks) BETWEEN 1 AND 50)),
    owner text NOT NULL CHECK (char_length(owner) BETWEEN 1 AND 100),
    created_at timestamptz NOT NULL,
    created_by text NOT NULL,
    expires_at timestamptz CHECK (expires_at > created_at),
    revoked_at timestamptz,
    version int NOT NULL CHECK (version >= 1),
    PRIMARY KEY (merchant_id, id),
    CONSTRAINT signing_key_once UNIQUE (id),
    CONSTRAINT signing_key_public_once UNIQUE (public_key),
    CONSTRAINT signing_key_reveal_expires CHECK (
        role <> 'service-reveal' OR (expires_at IS NOT NULL AND scopes IS NOT NULL)
    )
);
COMMENT ON TABLE iam.signing_key IS 'Public keys of merchants for signed requests (RFC 9421).';
COMMENT ON COLUMN iam.signing_key.merchant_id IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.signing_key.id IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.signing_key.public_key IS 'class=public retention=journal';
COMMENT ON COLUMN iam.signing_key.role IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.signing_key.scopes IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.signing_key.networks IS 'class=confidential retention=journal';
COMMENT ON COLUMN iam.signing_key.owner IS 'class=personal retention=journal';
COMMENT ON COLUMN iam.signing_key.created_at IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.signing_key.created_by IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.signing_key.expires_at IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.signing_key.revoked_at IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.signing_key.version IS 'class=internal retention=journal';

CREATE FUNCTION iam.refuse_revived_signing_key() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.revoked_at IS NOT NULL THEN
        RAISE EXCEPTION 'iam.signing_key: a revoked key stays revoked'
            USING ERRCODE = 'integrity_constraint_violation',
                CONSTRAINT = 'signing_key_stays_revoked';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER signing_key_stays_revoked BEFORE UPDATE OF revoked_at ON iam.signing_key
    FOR EACH ROW EXECUTE FUNCTION iam.refuse_revived_signing_key();

-- Its use stands in iam.api_key_use, beside that of API keys.
GRANT SELECT, INSERT ON iam.signing_key TO strongroom_pay;
GRANT UPDATE (revoked_at, version) ON iam.signing_key TO strongroom_pay;
GRANT SELECT ON iam.signing_key TO strongroom_read;
