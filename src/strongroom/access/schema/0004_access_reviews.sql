-- Reviews of access (PCI DSS 7.2.4): every right as it stood, and what was decided about it. Rows
-- are only ever added; the digest of a closed review stands in the journal.
CREATE TABLE iam.access_review (
    id uuid PRIMARY KEY,
    started_at timestamptz NOT NULL,
    started_by text NOT NULL,
    due_at timestamptz NOT NULL CHECK (due_at > started_at),
    lines bytea NOT NULL CHECK (octet_length(lines) <= 8388608),
    number int NOT NULL,
    CONSTRAINT access_review_one_at_a_time UNIQUE (number)
);
COMMENT ON TABLE iam.access_review IS 'Every account, key and machine as it stood when a review began, in order.';
COMMENT ON COLUMN iam.access_review.id IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.access_review.started_at IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.access_review.started_by IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.access_review.due_at IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.access_review.lines IS 'class=personal retention=journal';
COMMENT ON COLUMN iam.access_review.number IS 'class=internal retention=journal';

CREATE TABLE iam.access_review_decision (
    review_id uuid NOT NULL,
    line int NOT NULL CHECK (line >= 1),
    id uuid NOT NULL,
    verdict text NOT NULL CHECK (verdict IN ('keep', 'remove')),
    reviewer text NOT NULL,
    reason text NOT NULL CHECK (char_length(reason) BETWEEN 1 AND 500),
    decided_at timestamptz NOT NULL,
    PRIMARY KEY (review_id, line)
);
COMMENT ON TABLE iam.access_review_decision IS 'Whether a right stays, decided once by somebody else.';
COMMENT ON COLUMN iam.access_review_decision.review_id IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.access_review_decision.line IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.access_review_decision.id IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.access_review_decision.verdict IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.access_review_decision.reviewer IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.access_review_decision.reason IS 'class=confidential retention=journal';
COMMENT ON COLUMN iam.access_review_decision.decided_at IS 'class=internal retention=journal';

CREATE TABLE iam.access_review_end (
    review_id uuid PRIMARY KEY,
    id uuid NOT NULL,
    closed_at timestamptz NOT NULL,
    closed_by text NOT NULL,
    result_sha256 bytea NOT NULL CHECK (octet_length(result_sha256) = 32)
);
COMMENT ON TABLE iam.access_review_end IS 'That a review is complete, and the digest of its result.';
COMMENT ON COLUMN iam.access_review_end.review_id IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.access_review_end.id IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.access_review_end.closed_at IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.access_review_end.closed_by IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.access_review_end.result_sha256 IS 'class=internal retention=journal';

GRANT SELECT, INSERT ON iam.access_review, iam.access_review_decision, iam.access_review_end
    TO strongroom_pay;
GRANT SELECT ON iam.access_review, iam.access_review_decision, iam.access_review_end
    TO strongroom_read;
