"""Files in a form (``multipart/form-data``), as ``curl -F file=@cat.png`` sends them."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from typing import Any, Final

from pydantic import ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request as HttpRequest

from edgekit.serve.failures import RefusedError, malformed
from edgekit.serve.schemas.strict import Request

FILE: Final = "file"
_FIELDS: Final = (FILE, "model", "parameters")
_MOST: Final = 64


async def read(request: HttpRequest, body: bytes, kind: type[Request]) -> Request:
    """A request whose inputs are the form's files, which stay in memory.

    Args:
        request: For its headers.
        body: The form; its size was checked.
        kind: The task's request. ``parameters`` of the form is its JSON.

    Raises:
        RefusedError: It is no such form.
    """
    parser = MultiPartParser(request.headers, _once(body), max_files=_MOST, max_fields=len(_FIELDS))
    parser.spool_max_size = len(body) + 1  # a read-only container has nowhere to put a temporary file
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError) as error:  # KeyError: no boundary
        reason = error.message if isinstance(error, MultiPartException) else "it names no boundary"
        raise RefusedError(f"the form cannot be read: {reason}", status=400, kind="input") from error
    try:
        files, given = await _sorted(form)
    finally:
        await form.close()
    if not files:
        raise RefusedError("the form has no file", status=422, kind="input", hint="curl -F file=@FILE")
    return _request(files, given, kind)


async def _sorted(form: FormData) -> tuple[list[bytes], dict[str, Any]]:
    files: list[bytes] = []
    given: dict[str, Any] = {}
    for name, value in form.multi_items():
        if name not in _FIELDS or (name == FILE) != isinstance(value, UploadFile):
            raise RefusedError(
                f"the form's field {name[:80]!r}: expected files called 'file', 'model' and 'parameters' as text",
                status=422,
                kind="input",
            )
        if isinstance(value, UploadFile):
            files.append(await value.read())
        else:
            given[name] = value
    return files, given


def _request(files: list[bytes], given: dict[str, Any], kind: type[Request]) -> Request:
    if "parameters" in given:
        try:
            given["parameters"] = json.loads(given["parameters"])
        except (ValueError, RecursionError) as error:
            raise RefusedError("the form's field 'parameters' is no JSON", status=400, kind="input") from error
    try:
        # The files are no base64: they take the place of a stand-in once everything else is checked.
        made = kind.model_validate({"inputs": "AA=="} | given)
    except ValidationError as error:
        raise malformed(error) from None  # its own text would repeat the input
    object.__setattr__(made, "inputs", files[0] if len(files) == 1 else files)
    return made


async def _once(body: bytes) -> AsyncGenerator[bytes, None]:
    yield body
    yield b""
