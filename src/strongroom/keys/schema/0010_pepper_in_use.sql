-- A pepper under which living API keys are hashed is not destroyed, whoever asks: they would be lost.
-- identity counts (keys.hashes_under_pepper); the vault's role cannot read the keys themselves.
CREATE FUNCTION keys.refuse_to_lose_pepper() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF keys.hashes_under_pepper(OLD.version) > 0 THEN
        RAISE EXCEPTION 'keys.service_key: API keys are hashed under pepper %', OLD.version
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'pepper_in_use';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER pepper_in_use BEFORE UPDATE OF state ON keys.service_key
    FOR EACH ROW WHEN (OLD.purpose = 'api-key-pepper' AND NEW.state = 'destroyed'
        AND OLD.state <> 'destroyed')
    EXECUTE FUNCTION keys.refuse_to_lose_pepper();
