-- Double-entry postings and balances. Postings are append-only and every transaction sums to zero.
CREATE TABLE ledger.posting (
    merchant_id uuid NOT NULL,
    transaction_id uuid NOT NULL,
    line smallint NOT NULL,
    payment_id uuid NOT NULL,
    operation_id uuid NOT NULL,
    account text NOT NULL CHECK (account IN ('gateway_receivable', 'merchant_payable')),
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    amount bigint NOT NULL CHECK (amount <> 0),
    at timestamptz NOT NULL,
    -- One gateway operation posts once, whatever retries it.
    CONSTRAINT posting_operation PRIMARY KEY (merchant_id, operation_id, line)
);
CREATE INDEX posting_payment ON ledger.posting (payment_id);

COMMENT ON COLUMN ledger.posting.merchant_id IS 'class=internal retention=10y';
COMMENT ON COLUMN ledger.posting.transaction_id IS 'class=internal retention=10y';
COMMENT ON COLUMN ledger.posting.line IS 'class=internal retention=10y';
COMMENT ON COLUMN ledger.posting.payment_id IS 'class=internal retention=10y';
COMMENT ON COLUMN ledger.posting.operation_id IS 'class=internal retention=10y';
COMMENT ON COLUMN ledger.posting.account IS 'class=internal retention=10y';
COMMENT ON COLUMN ledger.posting.currency IS 'class=confidential retention=10y';
COMMENT ON COLUMN ledger.posting.amount IS 'class=confidential retention=10y (minor units, debit positive, credit negative)';
COMMENT ON COLUMN ledger.posting.at IS 'class=internal retention=10y';

-- A balance is the sum of its shards: processes add to different rows and never wait for each other.
CREATE TABLE ledger.balance (
    merchant_id uuid NOT NULL,
    account text NOT NULL,
    currency text NOT NULL,
    shard smallint NOT NULL,
    debit bigint NOT NULL DEFAULT 0 CHECK (debit >= 0),
    credit bigint NOT NULL DEFAULT 0 CHECK (credit >= 0),
    PRIMARY KEY (merchant_id, account, currency, shard)
) WITH (fillfactor = 25);

COMMENT ON COLUMN ledger.balance.merchant_id IS 'class=internal retention=10y';
COMMENT ON COLUMN ledger.balance.account IS 'class=internal retention=10y';
COMMENT ON COLUMN ledger.balance.currency IS 'class=confidential retention=10y';
COMMENT ON COLUMN ledger.balance.shard IS 'class=internal retention=10y';
COMMENT ON COLUMN ledger.balance.debit IS 'class=confidential retention=10y (minor units)';
COMMENT ON COLUMN ledger.balance.credit IS 'class=confidential retention=10y (minor units)';

CREATE FUNCTION ledger.refuse_unbalanced() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT 1 FROM added GROUP BY merchant_id, transaction_id, currency HAVING sum(amount) <> 0
    ) THEN
        RAISE EXCEPTION USING
            ERRCODE = 'check_violation',
            CONSTRAINT = 'posting_zero_sum',
            MESSAGE = 'a ledger transaction does not sum to zero';
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER posting_zero_sum AFTER INSERT ON ledger.posting
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_unbalanced();

CREATE FUNCTION ledger.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION USING
        ERRCODE = 'check_violation',
        CONSTRAINT = 'posting_append_only',
        MESSAGE = 'postings are never changed or removed';
END
$$;
CREATE TRIGGER posting_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger.posting
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();

GRANT SELECT, INSERT ON ledger.posting TO strongroom_pay;
GRANT SELECT, INSERT, UPDATE ON ledger.balance TO strongroom_pay;
GRANT SELECT ON ledger.posting, ledger.balance TO strongroom_read;
