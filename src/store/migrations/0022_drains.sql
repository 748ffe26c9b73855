CREATE TABLE drains (
    gateway_id VARCHAR(64) NOT NULL PRIMARY KEY,
    leave_at BIGINT NOT NULL
)
