"""A signing certificate of the signer's own, minted by an upstream, with a key that never leaves this process."""
