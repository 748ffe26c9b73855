CREATE TABLE links (
    link_id VARCHAR(64) NOT NULL PRIMARY KEY,
    conf_id VARCHAR(64) NOT NULL,
    role VARCHAR(16) NOT NULL,
    not_before BIGINT NULL,
    expires_at BIGINT NULL,
    max_uses BIGINT NULL,
    uses BIGINT NOT NULL,
    created_by VARCHAR(64) NOT NULL,
    created_at BIGINT NOT NULL,
    revoked_at BIGINT NULL
)
