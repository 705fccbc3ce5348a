"""Engines that run the networks."""

from a2f.machine import usable_cores as default_threads
from a2f.runtime.opening import load_engine
from a2f.runtime.options import DTYPES, ENGINES

__all__ = ["DTYPES", "ENGINES", "default_threads", "load_engine"]
