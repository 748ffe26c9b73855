CREATE TABLE bars (
    device VARCHAR(64) NOT NULL,
    conf_id VARCHAR(64) NOT NULL,
    barred_until BIGINT NULL,
    PRIMARY KEY (device, conf_id)
)
