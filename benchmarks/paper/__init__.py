"""Reproduces the tables and figures of the A²F paper: `python -m benchmarks.paper`."""
