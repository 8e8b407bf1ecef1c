"""Roots in every namespace of a real API server."""
