CREATE INDEX bars_by_conference ON bars (conf_id)
