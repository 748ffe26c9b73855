CREATE TABLE open_sockets (
    user_id VARCHAR(64) NOT NULL PRIMARY KEY,
    node_id VARCHAR(64) NOT NULL,
    seq BIGINT NOT NULL,
    opened_at BIGINT NOT NULL
)
