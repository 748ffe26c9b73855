CREATE INDEX accounts_by_conference ON accounts (conf_id)
