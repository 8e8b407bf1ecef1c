"""Two real Envoys that speak mutual TLS with issued certificates, and OpenSSL's strict verdict on a chain."""
