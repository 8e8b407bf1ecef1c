"""CSRs and chains as code, each with its verdict."""
