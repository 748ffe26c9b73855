CREATE INDEX accounts_by_expiry ON accounts (expires_at)
