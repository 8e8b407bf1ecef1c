"""Who calls: from credentials to a proven Caller."""
