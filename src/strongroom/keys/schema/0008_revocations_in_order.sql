-- Who may revoke a custodian depends on how many stay, so one revocation comes after the other: each
-- claims the next number. Those from before this have none.
ALTER TABLE keys.custodian_revocation ADD COLUMN number int UNIQUE CHECK (number >= 1);
COMMENT ON COLUMN keys.custodian_revocation.number IS 'class=internal retention=forever';
