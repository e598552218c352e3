"""Server-sent events, as the HTML standard has them."""

from __future__ import annotations

from typing import Any

from pydantic_core import to_json


def event(name: str, data: Any) -> bytes:
    """An event whose data is JSON, which has no line ends that would need care."""
    return b"event: %b\ndata: %b\n\n" % (name.encode(), to_json(data, inf_nan_mode="null"))
