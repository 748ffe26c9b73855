CREATE TABLE audit (
    entry_id VARCHAR(32) NOT NULL PRIMARY KEY,
    happened_at BIGINT NOT NULL,
    actor VARCHAR(64) NULL,
    conf_id VARCHAR(64) NOT NULL,
    action VARCHAR(64) NOT NULL,
    target VARCHAR(191) NULL,
    outcome VARCHAR(191) NOT NULL
)
