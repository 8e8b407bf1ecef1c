"""Signs with the PKI secrets engine of HashiCorp Vault or OpenBao."""
