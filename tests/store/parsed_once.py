"""Thousands of runs read the same few documents: parse each of them once. Half of a run's time is that."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

from edgekit.bundle.store.state import State
from edgekit.spec.manifest import Manifest


@contextmanager
def parsed_once() -> Iterator[None]:
    """Reading a document's bytes gives the same value each time, so the one from the first time will do."""
    whole = {kind: kind.__dict__["from_json"] for kind in (Manifest, State)}
    for kind in whole:
        kind.from_json = staticmethod(lru_cache(128)(kind.from_json))
    try:
        yield
    finally:
        for kind, function in whole.items():
            kind.from_json = function
