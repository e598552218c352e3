"""The ASGI application: routes, one error shape, and the wrapping that counts, logs and names every request."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic_core import to_json
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edgekit.errors import EdgekitError
from edgekit.serve.answering import Answering
from edgekit.serve.asking import TaskRoute
from edgekit.serve.docs_page import page
from edgekit.serve.failures import failed, status_of
from edgekit.serve.limits import InFlight, Limits
from edgekit.serve.observing import Metrics, log, now
from edgekit.serve.openapi import document
from edgekit.serve.served import Served

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_UNFORESEEN: Final = 500

# An id is this process's and a number: to ask the system for randomness takes as long as all the rest of this module.
_PROCESS: Final = os.urandom(4).hex()
_NUMBERS: Final = count(1)


@dataclass(slots=True)
class State:
    """Whether the service takes requests.

    Attributes:
        draining: Whether it has been told to stop.
    """

    draining: bool = False


@dataclass(frozen=True, slots=True)
class Service:
    """A service before it is bound to a port.

    Attributes:
        app: The ASGI application.
        served: Its bundles.
        state: Whether it takes requests.
        metrics: What it counts.
    """

    app: ASGIApp
    served: Sequence[Served]
    state: State = field(default_factory=State)
    metrics: Metrics = field(default_factory=Metrics)

    def close(self) -> None:
        """Close the bundles."""
        for one in self.served:
            one.close()


def service(served: Sequence[Served], limits: Limits, metrics: Metrics, *, access_log: bool = True) -> Service:
    """Make the application.

    Args:
        served: Open bundles.
        limits: What requests may have.
        metrics: Where the bundles' calls are counted.
        access_log: Whether each request is a line of the log.
    """
    metrics.bundles(served)
    state = State()
    in_flight = InFlight(limits.in_flight)
    by_path: dict[str, tuple[TaskRoute, list[Served]]] = {}
    for one in served:
        for route in one.routes:
            by_path.setdefault(route.path, (route, []))[1].append(one)
    schema = document([(route, [one.name for one in ones]) for route, ones in by_path.values()], limits)
    routes = [
        Route(path, Answering(route, ones, limits, in_flight, metrics).answer, methods=["POST"])
        for path, (route, ones) in by_path.items()
    ]
    routes += _about(served, state, metrics, schema)
    app = Starlette(
        routes=routes,
        exception_handlers={EdgekitError: _failed, HTTPException: _failed, Exception: _failed},
    )
    app.router.redirect_slashes = False
    return Service(Observed(app, metrics, set(by_path), access_log=access_log), served, state, metrics)


def _about(served: Sequence[Served], state: State, metrics: Metrics, schema: dict[str, Any]) -> list[Route]:
    shown, html = to_json(schema), page(schema)
    models = to_json({"models": [one.document() for one in served]})

    async def health(_: Request) -> Response:
        alive = all(one.lane.alive for one in served)
        return _json({"status": "ok" if alive else "failed"}, 200 if alive else 503)

    async def ready(_: Request) -> Response:
        is_ready = not state.draining and all(one.lane.alive for one in served)
        word = "ready" if is_ready else "draining" if state.draining else "failed"
        return _json({"status": word}, 200 if is_ready else 503)

    async def measured(_: Request) -> Response:
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    async def listed(_: Request) -> Response:
        return Response(models, media_type="application/json")

    async def openapi(_: Request) -> Response:
        return Response(shown, media_type="application/json")

    async def docs(_: Request) -> Response:
        return HTMLResponse(html, headers={"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'"})

    handlers = {
        "/health": health,
        "/ready": ready,
        "/metrics": measured,
        "/v1/models": listed,
        "/openapi.json": openapi,
        "/docs": docs,
    }
    return [Route(path, handler, methods=["GET"]) for path, handler in handlers.items()]


def _json(value: Any, status: int = 200) -> Response:
    return Response(to_json(value), status, media_type="application/json")


async def _failed(request: Request, error: Exception) -> Response:
    request.scope["failure"] = status_of(error)[1]
    return failed(request, error)


class Observed:
    """Gives every request an id, counts it, logs it, and ends what nobody foresaw.

    Args:
        app: The application inside.
        metrics: What counts.
        paths: Routes that are counted by their own name.
        access_log: Whether each request is a line of the log.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, paths: set[str], *, access_log: bool) -> None:
        self._app = app
        self._metrics = metrics
        self._paths = paths | {"/health", "/ready", "/metrics", "/openapi.json", "/docs", "/v1/models"}
        self._quiet = {"/health", "/ready", "/metrics"}  # asked every few seconds, by machines
        self._access_log = access_log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = now()
        scope["request_id"] = request_id = _request_id(scope)
        status = sent = 0

        async def sending(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
            else:
                sent += len(message.get("body", b""))
            await send(message)

        self._metrics.in_flight.inc()
        try:
            await self._app(scope, receive, sending)
        except Exception as error:  # noqa: BLE001 - the answer is sent; the server goes on
            log("unexpected", logging.ERROR, exc_info=error, request_id=request_id, path=scope["path"])
        finally:
            self._metrics.in_flight.dec()
            self._note(scope, status or _UNFORESEEN, sent, now() - began)

    def _note(self, scope: Scope, status: int, sent: int, seconds: float) -> None:
        path, model, failure = scope["path"], scope.get("model", ""), scope.get("failure", "")
        self._metrics.request(path if path in self._paths else "other", model, status, seconds)
        if failure:
            self._metrics.refused(failure)
        if self._access_log and (path not in self._quiet or failure):
            log(
                "request",
                request_id=scope["request_id"],
                method=scope["method"],
                path=path[:200],
                status=status,
                ms=round(seconds * 1e3, 3),
                bytes_sent=sent,
                **({"model": model} if model else {}),
                **({"failure": failure} if failure else {}),
            )


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            given: str = value.decode("latin-1")
            if _REQUEST_ID.fullmatch(given):
                return given
    return f"{_PROCESS}{next(_NUMBERS):08x}"
