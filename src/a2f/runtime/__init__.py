"""Engines that run the networks."""

from a2f.runtime.engines import DTYPES, ENGINES, default_threads, load_engine

__all__ = ["DTYPES", "ENGINES", "default_threads", "load_engine"]
