"""Figures for Prometheus, and the access log."""

import json
import logging
import time
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
ACCESS = logging.getLogger("a2f.web.access")


class Metrics:
    """The figures of one server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        own = self.registry
        self.requests = Counter("a2f_requests_total", "Requests answered.", ["route", "method", "status"], registry=own)
        self.request_seconds = Histogram(
            "a2f_request_seconds",
            "Seconds from a request to the end of its answer.",
            ["route"],
            buckets=SECONDS,
            registry=own,
        )
        self.jobs = Counter("a2f_jobs_total", "Pictures, by how they ended.", ["status"], registry=own)
        self.job_seconds = Histogram(
            "a2f_job_seconds", "Seconds that a picture took in a worker.", buckets=SECONDS, registry=own
        )
        self.pixels = Counter("a2f_pixels_total", "Pixels of the pictures that were enlarged.", registry=own)
        self.workers_lost = Counter(
            "a2f_workers_lost_total", "Workers that ended or were killed, and were replaced.", registry=own
        )
        self.waiting = Gauge("a2f_queue", "Pictures that wait.", registry=own)
        self.running = Gauge("a2f_running", "Pictures that are being enlarged.", registry=own)
        self.body_bytes = Gauge("a2f_body_bytes", "Bytes of pictures that wait or run.", registry=own)
        self.result_bytes = Gauge("a2f_result_bytes", "Bytes of results that are kept.", registry=own)

    def text(self) -> bytes:
        """All metrics in the text format of Prometheus."""
        return generate_latest(self.registry)


def log_request(record: dict[str, Any]) -> None:
    """Write one line of JSON, without pictures, file names or job ids."""
    if ACCESS.isEnabledFor(logging.INFO):
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        ACCESS.info(json.dumps({"time": stamp, **record}))
