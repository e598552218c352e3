"""What a service tells about itself: metrics for Prometheus, and a log of JSON lines."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, PlatformCollector, ProcessCollector
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from edgekit.serve.served import Served

LOGGER: Final = "edgekit.serve"

_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_BATCHES: Final = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """Counters of one service, in a registry of its own.

    Attributes:
        registry: What ``/metrics`` prints.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self._requests = Counter(
            "edgekit_requests", "Requests answered.", ("route", "model", "status"), registry=self.registry
        )
        self._seconds = Histogram(
            "edgekit_request_seconds",
            "From a request's head to the end of its answer.",
            ("route",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._refused = Counter(
            "edgekit_refused",
            "Requests that were not answered with success, by kind.",
            ("kind",),
            registry=self.registry,
        )
        self._call_seconds = Histogram(
            "edgekit_call_seconds", "Calls of a model.", ("model",), buckets=_SECONDS, registry=self.registry
        )
        self._call_inputs = Histogram(
            "edgekit_call_inputs", "Inputs that shared a call.", ("model",), buckets=_BATCHES, registry=self.registry
        )
        self.in_flight = Gauge("edgekit_requests_in_flight", "Requests being answered.", registry=self.registry)
        self.pieces = Counter("edgekit_streamed_pieces", "Pieces of text streamed.", ("model",), registry=self.registry)

    def request(self, route: str, model: str, status: int, seconds: float) -> None:
        """Count an answer."""
        self._requests.labels(route, model, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def refused(self, kind: str) -> None:
        """Count an answer that is an error."""
        self._refused.labels(kind).inc()

    def called(self, model: str, inputs: int, seconds: float) -> None:
        """Count a call of a model."""
        self._call_seconds.labels(model).observe(seconds)
        if inputs:
            self._call_inputs.labels(model).observe(inputs)

    def bundles(self, served: Iterable[Served]) -> None:
        """Show what is served, and how many wait for it."""
        served = list(served)
        about = ("name", "bundle", "version", "release", "task", "variant", "signature")
        info = Gauge("edgekit_bundle_info", "What is served; always 1.", about, registry=self.registry)
        for one in served:
            document = one.document()
            info.labels(*(str(document[name]) for name in about)).set(1)
        self.registry.register(_Waiting(served))


class _Waiting(Collector):
    """The lengths of the queues, read when asked for."""

    def __init__(self, served: list[Served]) -> None:
        self._served = served

    def collect(self) -> Iterable[Metric]:
        family = GaugeMetricFamily("edgekit_requests_waiting", "Requests that wait for a model.", labels=["model"])
        for one in self._served:
            family.add_metric([one.name], one.lane.waiting)
        yield family


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, event, and what the event brings in ``extra={"fields": …}``."""

    def format(self, record: logging.LogRecord) -> str:
        """See :meth:`logging.Formatter.format`."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
        }
        line |= getattr(record, "fields", {})
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def log(event: str, level: int = logging.INFO, *, exc_info: Any = None, **fields: Any) -> None:
    """Write a line."""
    logging.getLogger(LOGGER).log(level, event, extra={"fields": fields}, exc_info=exc_info)


def now() -> float:
    """Seconds of a clock that only goes forward."""
    return time.perf_counter()
