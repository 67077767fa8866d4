-- Emergencies: opened for minutes, reviewed afterwards by others. Rows are only ever added.
CREATE TABLE iam.break_glass (
    id uuid PRIMARY KEY,
    actor text NOT NULL CHECK (char_length(actor) BETWEEN 1 AND 100),
    person text,
    reason text NOT NULL CHECK (char_length(reason) BETWEEN 1 AND 500),
    opened_at timestamptz NOT NULL,
    ends_at timestamptz NOT NULL CHECK (ends_at > opened_at),
    mac bytea NOT NULL CHECK (octet_length(mac) = 32),
    CONSTRAINT break_glass_bounded CHECK (ends_at <= opened_at + interval '60 minutes')
);
CREATE INDEX break_glass_ends ON iam.break_glass (ends_at);
COMMENT ON TABLE iam.break_glass IS 'Emergency access: who took it, why, and until when.';
COMMENT ON COLUMN iam.break_glass.id IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.break_glass.actor IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.break_glass.person IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.break_glass.reason IS 'class=confidential retention=journal';
COMMENT ON COLUMN iam.break_glass.opened_at IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.break_glass.ends_at IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.break_glass.mac IS 'class=internal retention=journal';

CREATE TABLE iam.break_glass_review (
    break_glass_id uuid NOT NULL,
    reviewer text NOT NULL CHECK (char_length(reviewer) BETWEEN 1 AND 100),
    id uuid NOT NULL,
    verdict text NOT NULL CHECK (verdict IN ('justified', 'misused')),
    note text NOT NULL CHECK (char_length(note) BETWEEN 1 AND 500),
    reviewed_at timestamptz NOT NULL,
    PRIMARY KEY (break_glass_id, reviewer)
);
COMMENT ON TABLE iam.break_glass_review IS 'What another administrator found when looking at an emergency afterwards.';
COMMENT ON COLUMN iam.break_glass_review.break_glass_id IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.break_glass_review.reviewer IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.break_glass_review.id IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.break_glass_review.verdict IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.break_glass_review.note IS 'class=confidential retention=journal';
COMMENT ON COLUMN iam.break_glass_review.reviewed_at IS 'class=internal retention=journal';

GRANT SELECT, INSERT ON iam.break_glass, iam.break_glass_review TO strongroom_pay;
GRANT SELECT ON iam.break_glass, iam.break_glass_review TO strongroom_read;
