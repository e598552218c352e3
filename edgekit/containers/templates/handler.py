"""The function: answers what an event asks of the bundle beside it.

An event is ``{"inputs": …, "parameters": {…}}``, or a request of API Gateway or of a function URL whose body is that.
Images and sounds are files in base64. The answer is the task's, in the shape of ``transformers.pipeline``; a bundle
that embeds texts gives their vectors.
"""

import base64
import json
import os
from pathlib import Path

from edgekit.errors import EdgekitError, InputError, UsageError
from edgekit.runtime import load

# Opened once for each container, before the first event: Lambda gives this phase more of the CPU.
MODEL = load(Path(os.environ.get("EDGEKIT_BUNDLE") or Path(__file__).with_name("bundle")))


def handler(event, context):  # noqa: ARG001 - Lambda's own signature
    """Answer an event."""
    if not isinstance(event, dict) or "requestContext" not in event:
        return answer(event)
    try:
        body = event.get("body") or ""
        text = base64.b64decode(body) if event.get("isBase64Encoded") else body
        status, result = 200, answer(json.loads(text))
    except (InputError, UsageError) as error:
        status, result = 422, {"error": {"kind": error.kind, "message": error.message, "hint": error.hint}}
    except EdgekitError as error:
        status, result = 503, {"error": {"kind": error.kind, "message": error.message, "hint": error.hint}}
    except ValueError:
        status, result = 400, {"error": {"kind": "input", "message": "the body is no JSON", "hint": ""}}
    return {"statusCode": status, "headers": {"content-type": "application/json"}, "body": json.dumps(result)}


def answer(asked):
    """The answer to ``{"inputs": …, "parameters": {…}}``.

    Raises:
        InputError: It is no such thing, or the model cannot use it.
        UsageError: A parameter makes no sense.
    """
    if not isinstance(asked, dict) or "inputs" not in asked or not asked.keys() <= {"inputs", "parameters"}:
        raise InputError('expected {"inputs": …, "parameters": {…}}')
    inputs, parameters = asked["inputs"], asked.get("parameters") or {}
    if MODEL.manifest.task.startswith(("image", "audio", "automatic-speech", "zero-shot-image")):
        inputs = [_file(one) for one in inputs] if isinstance(inputs, list) else _file(inputs)
    ask = MODEL if MODEL.manifest.task != "feature-extraction" else MODEL.embed
    try:
        result = ask(inputs, **parameters)
    except TypeError as error:  # a parameter that the task has not
        raise UsageError(f"parameters: {error}") from error
    return result.tolist() if hasattr(result, "tolist") else result


def _file(text):
    # A name would be a file of this machine's.
    if not isinstance(text, str):
        raise InputError("expected files in base64")
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as error:
        raise InputError(f"not base64: {error}") from error
