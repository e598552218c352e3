"""What the service takes at most, and how it says no."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields

from starlette.requests import Request

from edgekit.errors import UsageError
from edgekit.runtime.text import CHARACTERS_PER_TOKEN
from edgekit.serve.failures import RefusedError

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """Each is what one request, or all of them together, may have at most.

    Attributes:
        body_bytes: Of a request.
        body_s: Seconds until a request's body must have arrived.
        inputs: Runs of the model that one request can ask for: inputs, times their labels or documents.
        tokens: Of one text.
        new_tokens: Generated for one input.
        in_flight: Requests at a time; further ones are answered 503 at once.
        queue_s: Seconds a request may wait for its turn; then it is answered 503.

    Raises:
        UsageError: One of them is not positive.
    """

    body_bytes: int = 16 * MIB
    body_s: float = 30.0
    inputs: int = 64
    tokens: int = 8192
    new_tokens: int = 1024
    in_flight: int = 256
    queue_s: float = 30.0

    def __post_init__(self) -> None:
        """Refuse what lets nothing through."""
        for field in fields(self):
            if not getattr(self, field.name) > 0:
                raise UsageError(f"{field.name} {getattr(self, field.name)}: expected more than 0")


class InFlight:
    """Counts the requests that are being answered.

    Args:
        most: At a time.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.now = 0

    def __enter__(self) -> None:
        if self.now >= self.most:
            raise RefusedError(
                f"{self.now} requests are being answered, as many as this service takes at a time",
                status=503,
                kind="overloaded",
                hint="ask again a little later",
            )
        self.now += 1

    def __exit__(self, *_: object) -> None:
        self.now -= 1


async def read_body(request: Request, limits: Limits) -> bytes:
    """A request's body.

    Raises:
        RefusedError: It is too large (413) or too slow (408).
    """
    said = request.headers.get("content-length", "")
    if said.isdecimal() and int(said) > limits.body_bytes:
        raise _too_large(limits)
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(limits.body_s):
            async for part in request.stream():
                size += len(part)
                if size > limits.body_bytes:
                    raise _too_large(limits)
                parts.append(part)
    except TimeoutError as error:
        raise RefusedError(
            f"the body took longer than {limits.body_s:g} s to arrive", status=408, kind="limit", closes=True
        ) from error
    return parts[0] if len(parts) == 1 else b"".join(parts)


def check_runs(runs: int, limits: Limits) -> None:
    """Refuse a request that asks for too many runs of the model.

    Raises:
        RefusedError: Status 422.
    """
    if runs > limits.inputs:
        raise RefusedError(
            f"the request asks for {runs} runs of the model, at most {limits.inputs} are taken",
            status=422,
            kind="limit",
            hint="inputs count once for each of their labels or documents; send several requests",
        )


def may_be_long(text: str, limits: Limits) -> bool:
    """Whether a text can have more tokens than it may: each stands for at least one byte."""
    return len(text) * 4 > limits.tokens and len(text.encode("utf-8", "replace")) > limits.tokens


def check_tokens(texts: Iterable[str], limits: Limits, count: Callable[[str], int]) -> None:
    """Refuse a text with too many tokens.

    Args:
        texts: The texts.
        limits: Of the service.
        count: Tokens of a text.

    Raises:
        RefusedError: Status 422.
    """
    for text in texts:
        # One with more than 64 characters a token is not read to its end to find that out.
        if len(text) > limits.tokens * CHARACTERS_PER_TOKEN or count(text) > limits.tokens:
            raise RefusedError(
                f"a text of {len(text)} characters has more than {limits.tokens} tokens",
                status=422,
                kind="limit",
                hint="split it into parts",
            )


def _too_large(limits: Limits) -> RefusedError:
    return RefusedError(
        f"the body is larger than {limits.body_bytes} bytes", status=413, kind="limit", hint="send less", closes=True
    )
