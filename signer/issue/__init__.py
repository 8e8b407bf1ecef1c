"""The use case: one CSR in, one certificate chain or one exact refusal out."""
