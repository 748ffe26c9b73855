CREATE INDEX families_by_end ON families (ended_at)
