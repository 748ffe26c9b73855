CREATE INDEX audit_by_conference ON audit (conf_id, happened_at)
