CREATE INDEX families_by_user ON families (user_id, expires_at)
