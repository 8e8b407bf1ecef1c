"""The composition root: a configuration in, a running server out. Nothing else wires."""
