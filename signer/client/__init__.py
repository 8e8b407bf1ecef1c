"""A client of the signer, as a proxy is one: for `request`, for the demo, for trying things by hand."""
