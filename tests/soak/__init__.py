"""Everything that can rotate does, under constant load: quickly in each test run, for an hour by `make soak`."""
