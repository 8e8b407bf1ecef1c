"""Root rotation against real CAs: each step alone, done twice, done again after a death; then all of it, under load."""
