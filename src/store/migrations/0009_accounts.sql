CREATE TABLE accounts (
    user_id VARCHAR(64) NOT NULL PRIMARY KEY,
    conf_id VARCHAR(64) NOT NULL,
    link_id VARCHAR(64) NULL,
    name TEXT NOT NULL,
    device VARCHAR(64) NULL,
    expires_at BIGINT NOT NULL,
    sealed_password TEXT NULL
)
