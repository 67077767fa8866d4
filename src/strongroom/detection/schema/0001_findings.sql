-- Findings of the leak hunt. A finding shows the last four digits and a keyed hash, never the first
-- six beside it: mask and hash together must not help to rebuild a number (PCI DSS 3.5.1).
CREATE SCHEMA IF NOT EXISTS detection;
GRANT USAGE ON SCHEMA detection TO strongroom_pay, strongroom_read;

CREATE TABLE detection.finding (
    id uuid PRIMARY KEY,
    identity bytea NOT NULL CHECK (octet_length(identity) = 32),
    kind text NOT NULL CHECK (
        kind IN ('pan_outside_cde', 'sad_outside_cde', 'test_pan', 'unmapped_column')),
    severity text NOT NULL CHECK (severity IN ('low', 'medium', 'high', 'critical')),
    state text NOT NULL CHECK (state IN ('open', 'acknowledged', 'resolved')),
    place text NOT NULL CHECK (char_length(place) BETWEEN 1 AND 500),
    detail text NOT NULL CHECK (char_length(detail) <= 500),
    last4 text NOT NULL CHECK (last4 ~ '^([0-9]{4})?$'),
    brand text NOT NULL,
    confidence text NOT NULL CHECK (confidence IN ('', 'low', 'medium', 'high')),
    count int NOT NULL CHECK (count >= 1),
    opened_at timestamptz NOT NULL,
    last_seen_at timestamptz NOT NULL,
    changed_at timestamptz NOT NULL,
    changed_by text NOT NULL,
    reason text CHECK (char_length(reason) <= 500),
    disposition text CHECK (
        disposition IN ('deleted', 'retrieved', 'migrated', 'false_positive', 'declared')),
    sad_checked boolean NOT NULL,
    source text CHECK (char_length(source) <= 500),
    fix text CHECK (char_length(fix) <= 500),
    version int NOT NULL CHECK (version >= 1),
    CONSTRAINT finding_identity_key UNIQUE (identity),
    CONSTRAINT finding_resolved_how CHECK (state <> 'resolved' OR disposition IS NOT NULL)
);
COMMENT ON TABLE detection.finding IS 'Card data found outside the vault, and what was done about it (PCI DSS 12.10.7). identity: SHA-256 of kind, place and keyed hash, so that one leak is one row.';
COMMENT ON COLUMN detection.finding.id IS 'class=internal retention=forever';
COMMENT ON COLUMN detection.finding.identity IS 'class=confidential retention=forever';
COMMENT ON COLUMN detection.finding.kind IS 'class=internal retention=forever';
COMMENT ON COLUMN detection.finding.severity IS 'class=internal retention=forever';
COMMENT ON COLUMN detection.finding.state IS 'class=internal retention=forever';
COMMENT ON COLUMN detection.finding.place IS 'class=confidential retention=forever';
COMMENT ON COLUMN detection.finding.detail IS 'class=confidential retention=forever';
COMMENT ON COLUMN detection.finding.last4 IS 'class=confidential retention=forever';
COMMENT ON COLUMN detection.finding.brand IS 'class=internal retention=forever';
COMMENT ON COLUMN detection.finding.confidence IS 'class=internal retention=forever';
COMMENT ON COLUMN detection.finding.count IS 'class=internal retention=forever';
COMMENT ON COLUMN detection.finding.opened_at IS 'class=internal retention=forever';
COMMENT ON COLUMN detection.finding.last_seen_at IS 'class=internal retention=forever';
COMMENT ON COLUMN detection.finding.changed_at IS 'class=internal retention=forever';
COMMENT ON COLUMN detection.finding.changed_by IS 'class=internal retention=forever';
COMMENT ON COLUMN detection.finding.reason IS 'class=internal retention=forever';
COMMENT ON COLUMN detection.finding.disposition IS 'class=internal retention=forever';
COMMENT ON COLUMN detection.finding.sad_checked IS 'class=internal retention=forever';
COMMENT ON COLUMN detection.finding.source IS 'class=internal retention=forever';
COMMENT ON COLUMN detection.finding.fix IS 'class=internal retention=forever';
COMMENT ON COLUMN detection.finding.version IS 'class=internal retention=forever';

CREATE TABLE detection.scan_run (
    what text PRIMARY KEY CHECK (what IN ('database', 'logs')),
    started_at timestamptz NOT NULL,
    finished_at timestamptz,
    looked_at_bytes bigint NOT NULL,
    hits bigint NOT NULL,
    unread bigint NOT NULL
);
COMMENT ON TABLE detection.scan_run IS 'When the periodic hunt last ran; its row is also the claim that lets one process run it.';
COMMENT ON COLUMN detection.scan_run.what IS 'class=internal retention=forever';
COMMENT ON COLUMN detection.scan_run.started_at IS 'class=internal retention=forever';
COMMENT ON COLUMN detection.scan_run.finished_at IS 'class=internal retention=forever';
COMMENT ON COLUMN detection.scan_run.looked_at_bytes IS 'class=internal retention=forever';
COMMENT ON COLUMN detection.scan_run.hits IS 'class=internal retention=forever';
COMMENT ON COLUMN detection.scan_run.unread IS 'class=internal retention=forever';

-- Findings are never deleted by the service.
GRANT SELECT, INSERT ON detection.finding, detection.scan_run TO strongroom_pay;
GRANT UPDATE (severity, state, detail, confidence, count, last_seen_at, changed_at, changed_by,
    reason, disposition, sad_checked, source, fix, version) ON detection.finding TO strongroom_pay;
GRANT UPDATE (started_at, finished_at, looked_at_bytes, hits, unread) ON detection.scan_run
    TO strongroom_pay;
GRANT SELECT ON detection.finding, detection.scan_run TO strongroom_read;
