"""Signs through cert-manager: CertificateRequests for an Issuer, a ClusterIssuer or an external issuer."""
