CREATE INDEX allocations_by_time ON allocations (assigned_at)
