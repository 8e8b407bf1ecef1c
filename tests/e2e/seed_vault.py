"""The guide's Vault section, word for word but for the addresses of this machine."""

ENABLE_PKI = """
# Enable PKI
vault secrets enable pki

# Configure max lease TTL
vault secrets tune -max-lease-ttl=87600h pki

# Generate root CA
vault write -field=certificate pki/root/generate/internal \\
  common_name="istio-ca.istio-system.svc" \\
  ttl=87600h > ca.crt

# Configure CA certificate
vault write pki/config/urls \\
  issuing_certificates="http://vault.vault.svc:8200/v1/pki/ca" \\
  crl_distribution_points="http://vault.vault.svc:8200/v1/pki/crl"

# Create role for Istio
vault write pki/roles/istio-ca \\
  allowed_domains="istio-system.svc,cluster.local" \\
  allow_subdomains=true \\
  max_ttl=72h
"""

# {token}, {host} and {ca} are the files and the address that a pod would see.
KUBERNETES_AUTH = """
# Enable Kubernetes auth in Vault
vault auth enable kubernetes

# Configure Kubernetes auth
vault write auth/kubernetes/config \\
  token_reviewer_jwt="$(cat {token})" \\
  kubernetes_host="{host}" \\
  kubernetes_ca_cert=@{ca}

# Create policy for istiod
vault policy write istio-ca - <<EOF
path "pki/sign/istio-ca" {{
  capabilities = ["create", "update"]
}}
EOF

# Bind policy to istiod service account
vault write auth/kubernetes/role/istio-ca \\
  bound_service_account_names=istiod \\
  bound_service_account_namespaces=istio-system \\
  policies=istio-ca \\
  ttl=1h
"""

VARIABLES = {
    "VAULT_ROLE": "istio-ca",
    "VAULT_AUTH_PATH": "auth/kubernetes",
    "VAULT_SIGN_CSR_PATH": "pki/sign/istio-ca",
}
