CREATE INDEX accounts_by_link ON accounts (link_id, expires_at)
