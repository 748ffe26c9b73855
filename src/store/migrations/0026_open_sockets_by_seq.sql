CREATE INDEX open_sockets_by_seq ON open_sockets (seq)
