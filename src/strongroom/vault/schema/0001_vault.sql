-- The vault: the only place that keeps card data, all of it sealed. Only the vault's role may use it.
--
-- sealed_card holds PAN, expiry and holder name, sealed_display what may be shown (brand, first six,
-- last four, expiry). Neither a clear truncated PAN nor an unkeyed hash stands here, and the role
-- that serves payments and keeps truncated PANs cannot read fingerprints (PCI DSS 3.5.1).
-- A removed card keeps its row as a tombstone without card data.

CREATE TABLE vault.card (
    merchant_id uuid NOT NULL,
    id uuid NOT NULL,
    version int NOT NULL DEFAULT 1,
    fingerprint bytea CHECK (octet_length(fingerprint) = 32),
    index_version int,
    sealed_card bytea CHECK (octet_length(sealed_card) BETWEEN 64 AND 2048),
    sealed_display bytea CHECK (octet_length(sealed_display) BETWEEN 64 AND 2048),
    key_version int,
    saved boolean NOT NULL,
    expires_at timestamptz,
    purge_after timestamptz,
    created_at timestamptz NOT NULL,
    ended_at timestamptz,
    ended text CHECK (ended IN ('deleted', 'expired')),
    PRIMARY KEY (merchant_id, id),
    CONSTRAINT card_whole_or_gone CHECK (
        CASE WHEN ended_at IS NULL
            THEN num_nonnulls(fingerprint, index_version, sealed_card, sealed_display, key_version) = 5
                AND ended IS NULL
            ELSE num_nonnulls(fingerprint, index_version, sealed_card, sealed_display, key_version) = 0
                AND ended IS NOT NULL
        END),
    CONSTRAINT card_unsaved_leaves CHECK (
        ended_at IS NOT NULL OR (saved AND purge_after IS NULL AND expires_at IS NULL)
        OR (NOT saved AND num_nonnulls(expires_at, purge_after) = 2 AND purge_after > expires_at))
) WITH (autovacuum_vacuum_scale_factor = 0.02);
CREATE INDEX card_due ON vault.card (purge_after) WHERE ended_at IS NULL AND purge_after IS NOT NULL;
CREATE INDEX card_tombstones ON vault.card (ended_at) WHERE ended_at IS NOT NULL;
-- Finds every token of one card among the saved ones, the ones that stay.
CREATE INDEX card_saved_fingerprint ON vault.card (merchant_id, fingerprint)
    WHERE saved AND ended_at IS NULL;
-- Ciphertext does not compress; trying costs time on every write.
ALTER TABLE vault.card ALTER COLUMN sealed_card SET STORAGE EXTERNAL;
ALTER TABLE vault.card ALTER COLUMN sealed_display SET STORAGE EXTERNAL;
COMMENT ON TABLE vault.card IS 'Tokens and the sealed cards behind them. id: 28 bits of unix minutes, 94 random bits; never derived from the PAN.';
COMMENT ON COLUMN vault.card.merchant_id IS 'class=internal retention=token-lifetime';
COMMENT ON COLUMN vault.card.id IS 'class=internal retention=token-lifetime';
COMMENT ON COLUMN vault.card.version IS 'class=internal retention=token-lifetime';
COMMENT ON COLUMN vault.card.fingerprint IS 'class=cardholder retention=card keyed hash of the whole PAN';
COMMENT ON COLUMN vault.card.index_version IS 'class=internal retention=card';
COMMENT ON COLUMN vault.card.sealed_card IS 'class=cardholder retention=card AES-256-GCM under the merchant key';
COMMENT ON COLUMN vault.card.sealed_display IS 'class=cardholder retention=card AES-256-GCM under the merchant key';
COMMENT ON COLUMN vault.card.key_version IS 'class=internal retention=card';
COMMENT ON COLUMN vault.card.saved IS 'class=internal retention=token-lifetime';
COMMENT ON COLUMN vault.card.expires_at IS 'class=internal retention=token-lifetime';
COMMENT ON COLUMN vault.card.purge_after IS 'class=internal retention=token-lifetime';
COMMENT ON COLUMN vault.card.created_at IS 'class=internal retention=token-lifetime';
COMMENT ON COLUMN vault.card.ended_at IS 'class=internal retention=400d';
COMMENT ON COLUMN vault.card.ended IS 'class=internal retention=400d';

GRANT SELECT, INSERT, DELETE ON vault.card TO strongroom_vault;
GRANT UPDATE (version, fingerprint, index_version, sealed_card, sealed_display, key_version, saved,
    expires_at, purge_after, ended_at, ended) ON vault.card TO strongroom_vault;

-- A card that is not gone is never deleted outright: it becomes a tombstone first.
CREATE FUNCTION vault.refuse_early_delete() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.ended_at IS NULL THEN
        RAISE EXCEPTION 'vault.card: a card ends as a tombstone before its row goes'
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'card_tombstone_first';
    END IF;
    RETURN OLD;
END
$$;
CREATE TRIGGER card_tombstone_first BEFORE DELETE ON vault.card
    FOR EACH ROW EXECUTE FUNCTION vault.refuse_early_delete();
