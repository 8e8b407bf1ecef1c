"""The configuration: one YAML file, environment variables over it, checked whole before anything starts."""
