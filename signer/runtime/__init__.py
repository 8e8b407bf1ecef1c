"""Running things: supervised services, signals, the system's clock."""
