-- A key lies under a key-encryption key that lives. A process that did not hear of a rotation would
-- wrap new keys under the one it knows; were that destroyed, what they seal could never be opened.
-- The new key's trigger holds the row above until commit, so neither can slip past the other.

CREATE FUNCTION keys.need_living_kek() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM keys.kek k WHERE k.id = NEW.kek_id AND k.state <> 'destroyed' FOR SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'keys.%: the key-encryption key is destroyed', TG_TABLE_NAME
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'key_under_living_kek';
    END IF;
    RETURN NEW;
END
$$;
CREATE FUNCTION keys.refuse_needed_kek() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM keys.dek WHERE kek_id = OLD.id AND state <> 'destroyed')
        OR EXISTS (SELECT FROM keys.index_key WHERE kek_id = OLD.id AND state <> 'destroyed')
        OR EXISTS (SELECT FROM keys.visible_key WHERE kek_id = OLD.id AND state <> 'destroyed')
        OR EXISTS (SELECT FROM keys.service_key WHERE kek_id = OLD.id AND state <> 'destroyed')
        OR EXISTS (SELECT FROM keys.client_key WHERE kek_id = OLD.id AND state <> 'destroyed')
        OR EXISTS (SELECT FROM keys.subject_key WHERE kek_id = OLD.id AND state <> 'destroyed')
    THEN
        RAISE EXCEPTION 'keys.kek: it still wraps keys'
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'kek_still_wraps';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER kek_still_wraps BEFORE UPDATE OF state ON keys.kek
    FOR EACH ROW WHEN (OLD.state <> 'destroyed' AND NEW.state = 'destroyed')
    EXECUTE FUNCTION keys.refuse_needed_kek();

CREATE TRIGGER dek_under_living_kek BEFORE INSERT ON keys.dek
    FOR EACH ROW EXECUTE FUNCTION keys.need_living_kek();
CREATE TRIGGER dek_moves_to_living_kek BEFORE UPDATE OF kek_id ON keys.dek
    FOR EACH ROW WHEN (NEW.kek_id <> OLD.kek_id) EXECUTE FUNCTION keys.need_living_kek();

CREATE TRIGGER index_key_under_living_kek BEFORE INSERT ON keys.index_key
    FOR EACH ROW EXECUTE FUNCTION keys.need_living_kek();
CREATE TRIGGER index_key_moves_to_living_kek BEFORE UPDATE OF kek_id ON keys.index_key
    FOR EACH ROW WHEN (NEW.kek_id <> OLD.kek_id) EXECUTE FUNCTION keys.need_living_kek();

CREATE TRIGGER visible_key_under_living_kek BEFORE INSERT ON keys.visible_key
    FOR EACH ROW EXECUTE FUNCTION keys.need_living_kek();
CREATE TRIGGER visible_key_moves_to_living_kek BEFORE UPDATE OF kek_id ON keys.visible_key
    FOR EACH ROW WHEN (NEW.kek_id <> OLD.kek_id) EXECUTE FUNCTION keys.need_living_kek();

CREATE TRIGGER service_key_under_living_kek BEFORE INSERT ON keys.service_key
    FOR EACH ROW EXECUTE FUNCTION keys.need_living_kek();
CREATE TRIGGER service_key_moves_to_living_kek BEFORE UPDATE OF kek_id ON keys.service_key
    FOR EACH ROW WHEN (NEW.kek_id <> OLD.kek_id) EXECUTE FUNCTION keys.need_living_kek();

CREATE TRIGGER client_key_under_living_kek BEFORE INSERT ON keys.client_key
    FOR EACH ROW EXECUTE FUNCTION keys.need_living_kek();
CREATE TRIGGER client_key_moves_to_living_kek BEFORE UPDATE OF kek_id ON keys.client_key
    FOR EACH ROW WHEN (NEW.kek_id <> OLD.kek_id) EXECUTE FUNCTION keys.need_living_kek();

CREATE TRIGGER subject_key_under_living_kek BEFORE INSERT ON keys.subject_key
    FOR EACH ROW EXECUTE FUNCTION keys.need_living_kek();
CREATE TRIGGER subject_key_moves_to_living_kek BEFORE UPDATE OF kek_id ON keys.subject_key
    FOR EACH ROW WHEN (NEW.kek_id <> OLD.kek_id) EXECUTE FUNCTION keys.need_living_kek();
