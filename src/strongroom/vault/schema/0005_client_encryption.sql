-- Which cards that clients encrypted were taken already: each is good for one use.
-- id is the hash of the client's random name of the message (jti), nothing of the card.

CREATE TABLE vault.client_message (
    merchant_id uuid NOT NULL,
    id uuid NOT NULL,
    expires_at timestamptz NOT NULL,
    CONSTRAINT client_message_once PRIMARY KEY (merchant_id, id)
) WITH (autovacuum_vacuum_scale_factor = 0.02);
CREATE INDEX client_message_due ON vault.client_message (expires_at);
COMMENT ON TABLE vault.client_message IS 'Encrypted cards that were used: inserted in the transaction that stores the card.';
COMMENT ON COLUMN vault.client_message.merchant_id IS 'class=internal retention=2h';
COMMENT ON COLUMN vault.client_message.id IS 'class=internal retention=2h';
COMMENT ON COLUMN vault.client_message.expires_at IS 'class=internal retention=2h';

GRANT SELECT, INSERT, DELETE ON vault.client_message TO strongroom_vault;
