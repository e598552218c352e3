"""The OpenAPI document: schemas from the types, paths from the routes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from pydantic import TypeAdapter
from pydantic.json_schema import JsonSchemaMode

import edgekit
from edgekit.serve.asking import TaskRoute
from edgekit.serve.failures import FailureAnswer
from edgekit.serve.limits import Limits

REFERENCE: Final = "#/components/schemas/{model}"

_FAILURE: Final = "failure"
_PROBLEMS: Final = {
    400: "The body is no JSON, or no form.",
    404: "No bundle of that name answers here.",
    408: "The body took too long.",
    413: "The body is too large.",
    415: "The body is of another type.",
    422: "The request breaks its schema or a limit, or the model cannot use the input.",
    500: "Something went wrong in the service.",
    503: "Too many requests, or the request waited too long; or the machine cannot run it.",
}


def document(routes: Sequence[tuple[TaskRoute, Sequence[str]]], limits: Limits) -> dict[str, Any]:
    """The document.

    Args:
        routes: Each with the names of the bundles that answer it.
        limits: What requests may have; named in the description.
    """
    wanted: list[tuple[str, JsonSchemaMode, TypeAdapter[Any]]] = [
        (_FAILURE, "serialization", TypeAdapter(FailureAnswer))
    ]
    for route, _ in routes:
        wanted.append((f"{route.name} request", "validation", TypeAdapter(route.request)))
        wanted.append((f"{route.name} answer", "serialization", route.adapter))
    found, definitions = TypeAdapter.json_schemas(wanted, ref_template=REFERENCE)
    schemas = {name: schema for (name, _), schema in found.items()}
    paths: dict[str, Any] = {route.path: {"post": _post(route, names, schemas)} for route, names in routes}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "edgekit serve",
            "version": edgekit.__version__,
            "description": (
                f"A body has at most {limits.body_bytes} bytes and asks for at most {limits.inputs} runs of the model, "
                f"a text has at most {limits.tokens} tokens, and at most {limits.new_tokens} are written for one."
            ),
        },
        "paths": paths | _about(),
        "components": {"schemas": definitions.get("$defs", {})},
    }


def _post(route: TaskRoute, names: Sequence[str], schemas: dict[str, Any]) -> dict[str, Any]:
    content: dict[str, Any] = {
        "application/json": {"schema": schemas[f"{route.name} request"], "example": dict(route.example)}
    }
    if route.media:
        content["multipart/form-data"] = {"schema": _form()}
    answers: dict[str, Any] = {"application/json": {"schema": schemas[f"{route.name} answer"]}}
    if route.streams:
        answers["text/event-stream"] = {
            "schema": {
                "type": "object",
                "description": "An event, with `stream`: `piece`, then `answer`, or `error`; the data of each is JSON.",
                "properties": {
                    "event": {"type": "string", "enum": ["piece", "answer", "error"]},
                    "data": {"type": "string", "contentMediaType": "application/json"},
                },
                "required": ["event", "data"],
            }
        }
    return {
        "operationId": route.name.replace("-", "_"),
        "summary": route.summary,
        "description": f"Answered by: {', '.join(names)}.",
        "requestBody": {"required": True, "content": content},
        "responses": {"200": {"description": "The answer.", "content": answers}}
        | _problems(_PROBLEMS, schemas[_FAILURE]),
    }


def _form() -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {
            "file": {"type": "array", "items": {"type": "string", "format": "binary"}, "minItems": 1},
            "model": {"type": "string"},
            "parameters": {"type": "string", "description": "JSON, as in the other form of the request."},
        },
        "required": ["file"],
        "additionalProperties": False,
    }


def _problems(statuses: Iterable[int], schema: dict[str, Any]) -> dict[str, Any]:
    content = {"application/json": {"schema": schema}}
    return {str(status): {"description": _PROBLEMS[status], "content": content} for status in statuses}


def _about() -> dict[str, Any]:
    status = {"type": "object", "properties": {"status": {"type": "string"}}, "required": ["status"]}
    return {
        "/health": _get("Whether the process is alive", "application/json", status, 200, 503),
        "/ready": _get("Whether it takes requests", "application/json", status, 200, 503),
        "/metrics": _get("Metrics for Prometheus", "text/plain", {"type": "string"}, 200),
        "/v1/models": _get(
            "The bundles",
            "application/json",
            {
                "type": "object",
                "properties": {"models": {"type": "array", "items": {"type": "object"}}},
                "required": ["models"],
            },
            200,
        ),
    }


def _get(summary: str, media: str, schema: dict[str, Any], *statuses: int) -> dict[str, Any]:
    content = {media: {"schema": schema}}
    said = {200: "Yes, or what was asked for.", 503: "No."}
    return {
        "get": {
            "summary": summary,
            "responses": {str(status): {"description": said[status], "content": content} for status in statuses},
        }
    }
