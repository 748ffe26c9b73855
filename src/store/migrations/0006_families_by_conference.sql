CREATE INDEX families_by_conference ON families (conf_id)
