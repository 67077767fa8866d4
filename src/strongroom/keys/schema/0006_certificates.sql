-- Certificates of the installation's own processes: what was issued, to whom, until when.
-- Only public data: the authority's key is a service key, processes' keys are kept nowhere.
CREATE TABLE keys.certificate (
    id uuid PRIMARY KEY,
    role text NOT NULL CHECK (role IN ('authority', 'vault', 'api', 'worker')),
    version int NOT NULL CHECK (version >= 1),
    serial_number bytea NOT NULL UNIQUE CHECK (octet_length(serial_number) = 20),
    spiffe_id text NOT NULL CHECK (length(spiffe_id) <= 255),
    not_before timestamptz NOT NULL,
    not_after timestamptz NOT NULL CHECK (not_after > not_before),
    certificate bytea NOT NULL CHECK (octet_length(certificate) <= 4096),
    issued_by text NOT NULL CHECK (length(issued_by) <= 200),
    CONSTRAINT certificate_one_version UNIQUE (role, version)
);
COMMENT ON TABLE keys.certificate IS 'Certificates of the installation''s processes and of the authority that issues them; public data.';
COMMENT ON COLUMN keys.certificate.id IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.certificate.role IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.certificate.version IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.certificate.serial_number IS 'class=public retention=forever';
COMMENT ON COLUMN keys.certificate.spiffe_id IS 'class=public retention=forever';
COMMENT ON COLUMN keys.certificate.not_before IS 'class=public retention=forever';
COMMENT ON COLUMN keys.certificate.not_after IS 'class=public retention=forever';
COMMENT ON COLUMN keys.certificate.certificate IS 'class=public retention=forever';
COMMENT ON COLUMN keys.certificate.issued_by IS 'class=internal retention=forever';

GRANT SELECT, INSERT ON keys.certificate TO strongroom_vault;
