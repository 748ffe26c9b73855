CREATE INDEX links_by_conference ON links (conf_id, created_at)
