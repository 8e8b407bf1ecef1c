"""Signs through the Kubernetes CSR API: CertificateSigningRequests for any signer of the cluster."""
