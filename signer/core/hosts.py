"""Names of this host, to which nothing has to be encrypted."""

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
