"""Benchmarks: run by `make bench`, never by the tests. Figures are compared within one run: machines are noisy."""
