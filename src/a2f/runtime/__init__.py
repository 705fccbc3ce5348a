"""Engines that run the networks."""

from a2f.runtime.memory import usable_cores as default_threads
from a2f.runtime.opening import load_engine
from a2f.runtime.options import DTYPES, ENGINES
from a2f.runtime.plan import Limits

__all__ = ["DTYPES", "ENGINES", "Limits", "default_threads", "load_engine"]
