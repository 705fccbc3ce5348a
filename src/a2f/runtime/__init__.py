"""Engines that run the networks."""

from a2f.runtime.engines import default_threads, load_engine
from a2f.runtime.options import DTYPES, ENGINES
from a2f.runtime.plan import Limits

__all__ = ["DTYPES", "ENGINES", "Limits", "default_threads", "load_engine"]
