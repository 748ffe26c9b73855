CREATE TABLE documents (
    kind VARCHAR(32) NOT NULL,
    doc_key VARCHAR(191) NOT NULL,
    body MEDIUMTEXT NOT NULL,
    PRIMARY KEY (kind, doc_key)
)
