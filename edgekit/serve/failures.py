"""Errors as answers: one shape, and a status for each kind."""

from __future__ import annotations

from pydantic import ValidationError
from pydantic_core import ErrorDetails, to_json
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from typing_extensions import TypedDict

from edgekit.errors import EdgekitError, HostError, InputError, UsageError

SHOWN = 5  # mistakes of one body


class Failure(TypedDict):
    """What went wrong."""

    kind: str
    message: str
    hint: str
    request_id: str


class FailureAnswer(TypedDict):
    """The body of every answer that is no success."""

    error: Failure


class RefusedError(InputError):
    """A request that is not answered, by no fault of the bundle's.

    Args:
        message: What is wrong with it.
        status: Of the HTTP response.
        kind: A word for programs.
        hint: The next thing to try.
        closes: Whether the connection ends with it, since the rest of the body is not read.
    """

    def __init__(self, message: str, *, status: int, kind: str, hint: str = "", closes: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.word = kind
        self.closes = closes


def failed(request: Request, error: Exception) -> Response:
    """The answer to a request that an error ended."""
    status, kind = status_of(error)
    headers: dict[str, str] = {}
    if status == 503:
        headers["retry-after"] = "1"
    if isinstance(error, RefusedError) and error.closes:
        headers["connection"] = "close"
    if isinstance(error, HTTPException):
        headers |= error.headers or {}
    body = as_failure(error, kind, request.scope.get("request_id", ""))
    return Response(to_json(body), status, headers, "application/json")


def as_failure(error: Exception, kind: str, request_id: str) -> FailureAnswer:
    """An error in the service's one shape; of one that nobody foresaw nothing is told."""
    message, hint = "something went wrong here; the log has more under this request_id", ""
    if isinstance(error, EdgekitError):
        message, hint = error.message, error.hint
    elif isinstance(error, HTTPException):
        message = error.detail
    return {"error": {"kind": kind, "message": message, "hint": hint, "request_id": request_id}}


def status_of(error: Exception) -> tuple[int, str]:
    """Status and kind of an error."""
    if isinstance(error, RefusedError):
        return error.status, error.word
    if isinstance(error, InputError | UsageError):
        return 422, error.kind
    if isinstance(error, HostError):
        return 503, error.kind
    if isinstance(error, EdgekitError):
        return 500, error.kind
    if isinstance(error, HTTPException):
        return error.status_code, "usage"
    return 500, "unexpected"


def malformed(error: ValidationError) -> RefusedError:
    """A body that is no such request: 400 where it is no JSON, else 422. Values are not repeated."""
    mistakes = error.errors(include_url=False, include_context=False, include_input=False)
    if any(mistake["type"] == "json_invalid" for mistake in mistakes):
        return RefusedError(mistakes[0]["msg"], status=400, kind="input", hint="the body must be JSON in UTF-8")
    shown = "; ".join(f"{_place(mistake)}: {mistake['msg']}" for mistake in mistakes[:SHOWN])
    more = f"; and {len(mistakes) - SHOWN} more" if len(mistakes) > SHOWN else ""
    return RefusedError(shown + more, status=422, kind="input", hint="GET /openapi.json has the schema")


def _place(mistake: ErrorDetails) -> str:
    return ".".join(str(part) for part in mistake["loc"]) or "body"
