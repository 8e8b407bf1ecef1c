"""Which identity a proven caller may have."""
