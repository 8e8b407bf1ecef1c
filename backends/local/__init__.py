"""The local backend: a CA key from files."""
