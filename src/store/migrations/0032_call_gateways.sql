CREATE TABLE call_gateways (
    gateway_id VARCHAR(64) NOT NULL PRIMARY KEY,
    node_id VARCHAR(64) NOT NULL,
    url VARCHAR(512) NOT NULL,
    origin VARCHAR(512) NOT NULL,
    region VARCHAR(64) NOT NULL,
    pins VARCHAR(160) NOT NULL,
    key_id VARCHAR(64) NOT NULL,
    sealed_secret VARCHAR(1024) NOT NULL
)
