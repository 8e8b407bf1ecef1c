"""A real OpenBao under the tests' control, and what the Vault backend does with it."""
