"""A request of a task, from its body to its answer."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Generator, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError
from pydantic_core import to_json
from starlette.requests import Request as HttpRequest
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from edgekit.errors import UsageError
from edgekit.serve import uploads
from edgekit.serve.asking import TaskRoute, runs, texts
from edgekit.serve.events import event
from edgekit.serve.failures import RefusedError, as_failure, malformed, status_of
from edgekit.serve.jobs import Ask
from edgekit.serve.limits import InFlight, Limits, check_runs, check_tokens, may_be_long, read_body
from edgekit.serve.new_tokens import bounded, draws
from edgekit.serve.observing import Metrics
from edgekit.serve.schemas.strict import Request
from edgekit.spec.reader import nearest

if TYPE_CHECKING:
    from edgekit.serve.served import Served

_HEADERS: Final = {
    "cache-control": "no-store",
    "x-accel-buffering": "no",
}  # a proxy that gathers would hold pieces back


class Answering:
    """Answers one route.

    Args:
        route: The task's.
        served: The bundles that answer it.
        limits: What a request may have.
        in_flight: Counts requests of all routes.
        metrics: What counts.
    """

    def __init__(
        self, route: TaskRoute, served: Sequence[Served], limits: Limits, in_flight: InFlight, metrics: Metrics
    ) -> None:
        self._route = route
        self._served = {one.name: one for one in served}
        self._limits = limits
        self._in_flight = in_flight
        self._metrics = metrics

    async def answer(self, request: HttpRequest) -> Response:
        """Answer a request.

        Raises:
            EdgekitError: It cannot be answered; :mod:`edgekit.serve.failures` has the status.
        """
        with self._in_flight:
            asked = await self._read(request)
            served = self._pick(asked.model)
            request.scope["model"] = served.name
            items, options = self._route.inputs(asked), dict(asked.options())
            served.check_options(options)
            check_runs(runs(items, options), self._limits)
            if not self._route.media:
                await self._check_tokens(served, texts([items, list(options.values())]))
            options = bounded(served.model, options, self._limits.new_tokens)
            if getattr(asked, "stream", False):
                return await self._stream(request, served, asked, options)
            ask = self._route.ask
            key: str | None = f"{self._route.name} {sorted(options.items())!r}" if options else self._route.name
            if draws(served.model, options):
                key = None
            elif not self._route.media and served.stands_alone(texts(items)):
                key, ask = None, partial(_one_by_one, ask)
            answers = await served.lane.ask(ask, items, options, key=key)
            body = self._route.shape(answers, asked.listed()[1], asked)
            return Response(to_json(body, inf_nan_mode="null"), media_type="application/json")

    async def _read(self, request: HttpRequest) -> Request:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == "application/json":
            body = await read_body(request, self._limits)
            try:
                return self._route.request.model_validate_json(body)
            except ValidationError as error:
                raise malformed(error) from None  # its own text would repeat the input
        if self._route.media and kind == "multipart/form-data":
            return await uploads.read(request, await read_body(request, self._limits), self._route.request)
        wanted = "application/json" + (" or multipart/form-data" if self._route.media else "")
        raise RefusedError(f"content-type {kind[:80]!r}: expected {wanted}", status=415, kind="usage")

    async def _check_tokens(self, served: Served, found: Iterable[str]) -> None:
        """Count the tokens of long texts, in the bundle's turn: a tokenizer takes its time with them."""
        long = [text for text in found if may_be_long(text, self._limits)]
        if long:
            await served.lane.run(partial(check_tokens, long, self._limits, served.model.count_tokens))

    def _pick(self, name: str | None) -> Served:
        if name is None:
            if len(self._served) == 1:
                return next(iter(self._served.values()))
            raise UsageError(
                "several bundles answer this route", hint=f"say which as 'model': {', '.join(self._served)}"
            )
        if name not in self._served:
            raise RefusedError(
                f"model {name[:80]!r}: none of that name answers this route",
                status=404,
                kind="usage",
                hint=nearest(name, tuple(self._served)) or f"there is {', '.join(self._served)}",
            )
        return self._served[name]

    async def _stream(
        self, request: HttpRequest, served: Served, asked: Request, options: Mapping[str, Any]
    ) -> Response:
        items, several = asked.listed()
        if several:
            raise UsageError("stream: one input at a time is streamed", hint="send a text or a chat, and no list")
        model: Any = served.model
        pieces = await served.lane.run(lambda: iter(model.stream(items[0], **_streamed(model, options))))
        first = await served.lane.run(lambda: next(pieces, None))  # what fails at once is answered with a status
        body = self._events(request, served, pieces, first)
        self._in_flight.now += 1  # it is in flight until the stream has ended, however it ends
        return _Stream(body, self._in_flight)

    async def _events(
        self, request: HttpRequest, served: Served, pieces: Generator[str, None, None], first: str | None
    ) -> AsyncIterator[bytes]:
        written: list[str] = []
        piece = first
        try:
            while piece is not None:
                written.append(piece)
                self._metrics.pieces.labels(served.name).inc()
                yield event("piece", {"text": piece})
                piece = await served.lane.run(lambda: next(pieces, None))
            yield event("answer", [{self._key: "".join(written)}])
        except Exception as error:  # noqa: BLE001 - the status is sent: the error is an event
            kind = status_of(error)[1]
            request.scope["failure"] = kind
            yield event("error", as_failure(error, kind, request.scope["request_id"]))
        finally:
            served.lane.later(pieces.close)  # whoever left early leaves a cache behind

    @property
    def _key(self) -> str:
        return {"summarization": "summary_text", "translation": "translation_text"}.get(
            self._route.name, "generated_text"
        )


def _one_by_one(ask: Ask, model: Any, items: list[Any], options: Mapping[str, Any], _: int) -> Sequence[Any]:
    return ask(model, items, options, 1)


class _Stream(StreamingResponse):
    """Events; the request is in flight until they have ended."""

    def __init__(self, body: AsyncIterator[bytes], in_flight: InFlight) -> None:
        super().__init__(body, media_type="text/event-stream", headers=_HEADERS)
        self._in_flight = in_flight

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See :class:`starlette.responses.StreamingResponse`."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._in_flight.now -= 1


def _streamed(model: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options, where the model streams with them."""
    known = tuple(inspect.signature(model.stream).parameters)
    unknown = [name for name in options if name not in known and (name, options[name]) not in _ALLOWED]
    if unknown:
        raise UsageError(f"parameters.{unknown[0]}: is not for streams", hint=f"a stream takes {', '.join(known[1:])}")
    return {name: value for name, value in options.items() if name in known}


_ALLOWED: Final = (("num_return_sequences", 1), ("return_full_text", False))
