"""Signing with a CA key that this process holds, in memory: from files, or minted by an upstream."""
