"""The tables and figures of the A²F paper, made anew beside the printed ones; `python -m benchmarks.paper`."""
