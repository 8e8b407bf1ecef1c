"""istiod's own TLS certificate: one Secret, made and kept current while this replica leads."""
