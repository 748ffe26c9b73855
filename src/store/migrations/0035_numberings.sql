CREATE TABLE numberings (
    conf_id VARCHAR(64) NOT NULL PRIMARY KEY,
    node_id VARCHAR(64) NOT NULL,
    fence BIGINT NOT NULL,
    roster MEDIUMTEXT NOT NULL,
    seats MEDIUMTEXT NOT NULL,
    changed_at BIGINT NOT NULL
)
