"""Leader election on the real API server: electors in this process, and processes of their own that are frozen."""
