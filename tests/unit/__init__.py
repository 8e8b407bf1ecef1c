"""Tests of single modules; the tree mirrors that of the code."""
