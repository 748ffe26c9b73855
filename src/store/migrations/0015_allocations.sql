CREATE TABLE allocations (
    conf_id VARCHAR(64) NOT NULL PRIMARY KEY,
    gateway_id VARCHAR(64) NOT NULL,
    assigned_at BIGINT NOT NULL
)
