-- Cards of a data subject are sealed under that subject's key. Two triggers keep card and key in
-- step whoever writes: a card enters only while its key lives, and a key that is destroyed takes its
-- cards with it. The card's trigger holds the key's row until commit, so neither can slip past.

ALTER TABLE vault.card ADD COLUMN subject uuid;
COMMENT ON COLUMN vault.card.subject IS 'class=personal retention=card keyed hash of the merchant''s reference';
ALTER TABLE vault.card ADD CONSTRAINT card_subject_leaves
    CHECK (ended_at IS NULL OR subject IS NULL) NOT VALID;
ALTER TABLE vault.card VALIDATE CONSTRAINT card_subject_leaves;
CREATE INDEX card_subject ON vault.card (subject) WHERE subject IS NOT NULL;
GRANT UPDATE (subject) ON vault.card TO strongroom_vault;

CREATE FUNCTION vault.need_living_key() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM keys.subject_key k
        WHERE k.merchant_id = NEW.merchant_id AND k.subject = NEW.subject
            AND k.version = NEW.key_version AND k.state <> 'destroyed'
        FOR SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'vault.card: the key of this data subject is destroyed'
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'card_subject_key';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER card_subject_key_new BEFORE INSERT ON vault.card
    FOR EACH ROW WHEN (NEW.subject IS NOT NULL) EXECUTE FUNCTION vault.need_living_key();
CREATE TRIGGER card_subject_key_other BEFORE UPDATE OF subject, key_version ON vault.card
    FOR EACH ROW WHEN (NEW.subject IS NOT NULL
        AND (NEW.subject, NEW.key_version) IS DISTINCT FROM (OLD.subject, OLD.key_version))
    EXECUTE FUNCTION vault.need_living_key();

CREATE FUNCTION vault.end_cards_of_subject() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE vault.card SET version = version + 1, fingerprint = NULL, index_version = NULL,
        sealed_card = NULL, sealed_display = NULL, key_version = NULL, subject = NULL,
        ended_at = NEW.state_at, ended = 'deleted'
        WHERE subject = OLD.subject AND merchant_id = OLD.merchant_id
            AND key_version = OLD.version AND ended_at IS NULL;
    GET DIAGNOSTICS NEW.cards_removed = ROW_COUNT;
    RETURN NEW;
END
$$;
CREATE TRIGGER subject_key_takes_its_cards BEFORE UPDATE OF state ON keys.subject_key
    FOR EACH ROW WHEN (OLD.state <> 'destroyed' AND NEW.state = 'destroyed')
    EXECUTE FUNCTION vault.end_cards_of_subject();
