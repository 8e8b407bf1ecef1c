"""istiod's Secret against a real API server, with the rights of the manifest and no others."""
