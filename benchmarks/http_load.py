"""A load client that costs little beside the service it asks: keep-alive connections, one request at a time on each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

Judge = Callable[[bytes], bool]
"""Whether a body is the answer to its request."""


@dataclass(slots=True)
class Load:
    """What came back.

    Attributes:
        seconds: How long it took.
        latencies_s: Of each request.
        statuses: How many answers had each status.
        wrong: Answers that were not those to their request.
        lost: Requests whose connection ended without an answer.
    """

    seconds: float = 0.0
    latencies_s: list[float] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)
    wrong: int = 0
    lost: int = 0


def post(path: str, body: bytes) -> bytes:
    """The bytes of a request."""
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def load(
    port: int,
    requests: Iterator[tuple[bytes, Judge]],
    *,
    connections: int,
    until: float = float("inf"),
    done: Callable[[int], None] = lambda _: None,
) -> Load:
    """Ask until there are no more requests, or until a time of :func:`time.perf_counter`.

    Args:
        port: Of the service, on loopback.
        requests: Each with the judge of its answer.
        connections: At a time.
        until: When to begin no more.
        done: Told how many were answered, after each.
    """
    result = Load()
    loop = asyncio.get_running_loop()
    began = time.perf_counter()
    clients = [_Client(requests, result, until, done, loop.create_future()) for _ in range(connections)]
    for client in clients:
        await loop.create_connection(lambda client=client: client, "127.0.0.1", port)
    await asyncio.gather(*(client.ended for client in clients))
    result.seconds = time.perf_counter() - began
    return result


class _Client(asyncio.Protocol):
    """One connection."""

    def __init__(
        self,
        requests: Iterator[tuple[bytes, Judge]],
        result: Load,
        until: float,
        done: Callable[[int], None],
        ended: asyncio.Future[None],
    ) -> None:
        self.ended = ended
        self._requests = requests
        self._result = result
        self._until = until
        self._done = done
        self._data = b""
        self._judge: Judge | None = None
        self._sent = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - for the type
        self._transport = transport
        self._next()

    def data_received(self, data: bytes) -> None:
        self._data += data
        head, found, body = self._data.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(body) < length:
            return
        self._data = b""
        status = int(head[9:12])
        result = self._result
        result.latencies_s.append(time.perf_counter() - self._sent)
        result.statuses[status] = result.statuses.get(status, 0) + 1
        if self._judge is not None and not self._judge(body):
            result.wrong += 1
        self._judge = None
        self._done(len(result.latencies_s))
        self._next()

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 - the protocol's
        if self._judge is not None:
            self._result.lost += 1
        if not self.ended.done():
            self.ended.set_result(None)

    def _next(self) -> None:
        following = None if time.perf_counter() >= self._until else next(self._requests, None)
        if following is None:
            self._transport.close()
            return
        request, self._judge = following
        self._sent = time.perf_counter()
        self._transport.write(request)
