"""Helpers for tests: a clock that tests turn, certificate authorities, fakes behind the ports."""
