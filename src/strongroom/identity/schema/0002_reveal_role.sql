-- Keys of services that may see card numbers: restricted, scoped, of one merchant, and they expire.

ALTER TABLE iam.api_key DROP CONSTRAINT api_key_role_of_kind;
ALTER TABLE iam.api_key ADD CONSTRAINT api_key_role_of_kind CHECK (
    (kind = 'sk' AND role = 'merchant-backend' AND scopes IS NULL)
    OR (kind = 'pk' AND role = 'merchant-publishable' AND scopes IS NULL)
    OR (kind = 'rk' AND role IN ('merchant-backend', 'service-reveal') AND scopes IS NOT NULL)
    OR (kind = 'rk' AND role IN ('operator-read', 'operator-admin'))
);
ALTER TABLE iam.api_key ADD CONSTRAINT api_key_reveal_expires CHECK (
    role <> 'service-reveal' OR expires_at IS NOT NULL
);
