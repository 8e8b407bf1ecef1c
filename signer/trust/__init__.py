"""What the mesh is to trust, and the certificates that the signer itself owns."""
