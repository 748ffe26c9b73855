CREATE TABLE numbered_events (
    conf_id VARCHAR(64) NOT NULL,
    epoch VARCHAR(64) NOT NULL,
    seq BIGINT NOT NULL,
    body MEDIUMTEXT NOT NULL,
    PRIMARY KEY (conf_id, epoch, seq)
)
