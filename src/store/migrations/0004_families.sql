CREATE TABLE families (
    family_id VARCHAR(64) NOT NULL PRIMARY KEY,
    user_id VARCHAR(64) NOT NULL,
    conf_id VARCHAR(64) NULL,
    client TEXT NULL,
    refresh_hash VARCHAR(128) NOT NULL,
    expires_at BIGINT NOT NULL,
    ended_at BIGINT NULL
)
