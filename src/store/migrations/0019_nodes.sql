CREATE TABLE nodes (
    node_id VARCHAR(64) NOT NULL PRIMARY KEY,
    fence BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
)
