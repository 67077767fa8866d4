-- Payments, the operations that change them, idempotency keys and gateway events.
CREATE TABLE pay.payment (
    merchant_id uuid NOT NULL,
    id uuid NOT NULL,
    version int NOT NULL DEFAULT 1,
    status text NOT NULL CHECK (status IN (
        'processing', 'requires_action', 'requires_review', 'authorized', 'partially_captured',
        'captured', 'canceled', 'declined', 'blocked')),
    amount bigint NOT NULL CHECK (amount > 0),
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    capture_method text NOT NULL CHECK (capture_method IN ('automatic', 'manual')),
    authorized bigint NOT NULL DEFAULT 0,
    captured bigint NOT NULL DEFAULT 0,
    capturing bigint NOT NULL DEFAULT 0,
    refunded bigint NOT NULL DEFAULT 0,
    refunding bigint NOT NULL DEFAULT 0,
    token text NOT NULL,
    brand text NOT NULL,
    bin text NOT NULL,
    last4 text NOT NULL,
    exp_month smallint NOT NULL,
    exp_year smallint NOT NULL,
    fingerprint text NOT NULL,
    reference text,
    description text,
    metadata jsonb NOT NULL,
    return_url text,
    decline_code text,
    decline_message text,
    action_url text,
    gateway text NOT NULL,
    gateway_reference text,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (merchant_id, id),
    CONSTRAINT payment_authorized_limit CHECK (authorized BETWEEN 0 AND amount),
    CONSTRAINT payment_captured_limit
        CHECK (captured >= 0 AND capturing >= 0 AND captured + capturing <= authorized),
    CONSTRAINT payment_refunded_limit
        CHECK (refunded >= 0 AND refunding >= 0 AND refunded + refunding <= captured)
) WITH (fillfactor = 80);
CREATE INDEX payment_reference ON pay.payment (merchant_id, reference, id) WHERE reference IS NOT NULL;
CREATE INDEX payment_open ON pay.payment (merchant_id, status, id) WHERE status IN (
    'requires_action', 'requires_review', 'authorized', 'partially_captured');
CREATE INDEX payment_action ON pay.payment (gateway, gateway_reference)
    WHERE status = 'requires_action';

COMMENT ON COLUMN pay.payment.merchant_id IS 'class=internal retention=10y';
COMMENT ON COLUMN pay.payment.id IS 'class=internal retention=10y';
COMMENT ON COLUMN pay.payment.version IS 'class=internal retention=10y';
COMMENT ON COLUMN pay.payment.status IS 'class=confidential retention=10y';
COMMENT ON COLUMN pay.payment.amount IS 'class=confidential retention=10y (minor units)';
COMMENT ON COLUMN pay.payment.currency IS 'class=confidential retention=10y';
COMMENT ON COLUMN pay.payment.capture_method IS 'class=internal retention=10y';
COMMENT ON COLUMN pay.payment.authorized IS 'class=confidential retention=10y (minor units)';
COMMENT ON COLUMN pay.payment.captured IS 'class=confidential retention=10y (minor units)';
COMMENT ON COLUMN pay.payment.capturing IS 'class=confidential retention=10y (minor units reserved by captures in flight)';
COMMENT ON COLUMN pay.payment.refunded IS 'class=confidential retention=10y (minor units)';
COMMENT ON COLUMN pay.payment.refunding IS 'class=confidential retention=10y (minor units reserved by refunds in flight)';
COMMENT ON COLUMN pay.payment.token IS 'class=confidential retention=10y';
COMMENT ON COLUMN pay.payment.brand IS 'class=confidential retention=10y';
COMMENT ON COLUMN pay.payment.bin IS 'class=confidential retention=10y (first six digits)';
COMMENT ON COLUMN pay.payment.last4 IS 'class=confidential retention=10y';
COMMENT ON COLUMN pay.payment.exp_month IS 'class=confidential retention=10y';
COMMENT ON COLUMN pay.payment.exp_year IS 'class=confidential retention=10y';
COMMENT ON COLUMN pay.payment.fingerprint IS 'class=confidential retention=10y (merchant-keyed, 128 bits)';
COMMENT ON COLUMN pay.payment.reference IS 'class=confidential retention=10y';
COMMENT ON COLUMN pay.payment.description IS 'class=personal retention=10y';
COMMENT ON COLUMN pay.payment.metadata IS 'class=personal retention=10y';
COMMENT ON COLUMN pay.payment.return_url IS 'class=confidential retention=10y';
COMMENT ON COLUMN pay.payment.decline_code IS 'class=confidential retention=10y';
COMMENT ON COLUMN pay.payment.decline_message IS 'class=confidential retention=10y';
COMMENT ON COLUMN pay.payment.action_url IS 'class=confidential retention=10y';
COMMENT ON COLUMN pay.payment.gateway IS 'class=internal retention=10y';
COMMENT ON COLUMN pay.payment.gateway_reference IS 'class=confidential retention=10y';
COMMENT ON COLUMN pay.payment.created_at IS 'class=internal retention=10y';
COMMENT ON COLUMN pay.payment.updated_at IS 'class=internal retention=10y';

CREATE TABLE pay.operation (
    merchant_id uuid NOT NULL,
    id uuid NOT NULL,
    payment_id uuid NOT NULL,
    kind text NOT NULL CHECK (kind IN ('authorize', 'capture', 'void', 'refund')),
    status text NOT NULL CHECK (status IN ('pending', 'succeeded', 'failed')),
    amount bigint NOT NULL CHECK (amount > 0),
    reason text,
    decline_code text,
    decline_message text,
    gateway_reference text,
    claim_id uuid,
    checks int NOT NULL DEFAULT 0,
    next_check_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (merchant_id, id)
) WITH (fillfactor = 80);
CREATE INDEX operation_payment ON pay.operation (payment_id, id);
CREATE INDEX operation_pending ON pay.operation (next_check_at) WHERE status = 'pending';

COMMENT ON COLUMN pay.operation.merchant_id IS 'class=internal retention=10y';
COMMENT ON COLUMN pay.operation.id IS 'class=internal retention=10y';
COMMENT ON COLUMN pay.operation.payment_id IS 'class=internal retention=10y';
COMMENT ON COLUMN pay.operation.kind IS 'class=internal retention=10y';
COMMENT ON COLUMN pay.operation.status IS 'class=confidential retention=10y';
COMMENT ON COLUMN pay.operation.amount IS 'class=confidential retention=10y (minor units)';
COMMENT ON COLUMN pay.operation.reason IS 'class=confidential retention=10y';
COMMENT ON COLUMN pay.operation.decline_code IS 'class=confidential retention=10y';
COMMENT ON COLUMN pay.operation.decline_message IS 'class=confidential retention=10y';
COMMENT ON COLUMN pay.operation.gateway_reference IS 'class=confidential retention=10y';
COMMENT ON COLUMN pay.operation.claim_id IS 'class=internal retention=10y';
COMMENT ON COLUMN pay.operation.checks IS 'class=internal retention=10y';
COMMENT ON COLUMN pay.operation.next_check_at IS 'class=internal retention=10y';
COMMENT ON COLUMN pay.operation.created_at IS 'class=internal retention=10y';
COMMENT ON COLUMN pay.operation.updated_at IS 'class=internal retention=10y';

-- `id` is a hash of scope, key and generation: the key itself is not kept.
CREATE TABLE pay.idempotency (
    merchant_id uuid NOT NULL,
    id uuid NOT NULL,
    request_hash bytea NOT NULL,
    state text NOT NULL CHECK (state IN ('running', 'done', 'released')),
    status smallint,
    body bytea,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (merchant_id, id),
    CHECK ((state = 'done') = (status IS NOT NULL AND body IS NOT NULL))
) WITH (fillfactor = 60);
CREATE INDEX idempotency_expiry ON pay.idempotency USING brin (expires_at);

COMMENT ON COLUMN pay.idempotency.merchant_id IS 'class=internal retention=7d';
COMMENT ON COLUMN pay.idempotency.id IS 'class=internal retention=7d';
COMMENT ON COLUMN pay.idempotency.request_hash IS 'class=confidential retention=7d (card data enters it only as a keyed commitment)';
COMMENT ON COLUMN pay.idempotency.state IS 'class=internal retention=7d';
COMMENT ON COLUMN pay.idempotency.status IS 'class=internal retention=7d';
COMMENT ON COLUMN pay.idempotency.body IS 'class=personal retention=7d (the answer as sent)';
COMMENT ON COLUMN pay.idempotency.created_at IS 'class=internal retention=7d';
COMMENT ON COLUMN pay.idempotency.expires_at IS 'class=internal retention=7d';

CREATE TABLE pay.gateway_event (
    gateway text NOT NULL,
    event_id text NOT NULL,
    type text NOT NULL,
    gateway_reference text,
    operation_id uuid,
    received_at timestamptz NOT NULL,
    PRIMARY KEY (gateway, event_id)
);
COMMENT ON TABLE pay.gateway_event IS 'Verified gateway webhooks, kept to refuse duplicates; belongs to no merchant.';
COMMENT ON COLUMN pay.gateway_event.gateway IS 'class=internal retention=90d';
COMMENT ON COLUMN pay.gateway_event.event_id IS 'class=internal retention=90d';
COMMENT ON COLUMN pay.gateway_event.type IS 'class=internal retention=90d';
COMMENT ON COLUMN pay.gateway_event.gateway_reference IS 'class=confidential retention=90d';
COMMENT ON COLUMN pay.gateway_event.operation_id IS 'class=internal retention=90d';
COMMENT ON COLUMN pay.gateway_event.received_at IS 'class=internal retention=90d';

GRANT SELECT, INSERT, UPDATE ON pay.payment, pay.operation TO strongroom_pay;
GRANT SELECT, INSERT, UPDATE, DELETE ON pay.idempotency, pay.gateway_event TO strongroom_pay;
GRANT SELECT ON pay.payment, pay.operation TO strongroom_read;
