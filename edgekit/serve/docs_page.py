"""``/docs``: the OpenAPI document as one page for people, without a script and without anything from elsewhere."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from typing import Any, Final

_STYLE: Final = """
body{font:16px/1.5 system-ui,sans-serif;max-width:54rem;margin:2rem auto;padding:0 1rem;color:#1c2430;background:#fff}
h1{font-size:1.6rem}h2{font-size:1.15rem;margin:2.4rem 0 .2rem;font-family:ui-monospace,monospace}
h3{font-size:.85rem;margin:1rem 0 .2rem;color:#556}p{margin:.2rem 0}
pre{background:#f4f6f9;padding:.7rem .9rem;overflow:auto;border-radius:6px;font-size:.82rem;margin:.3rem 0}
summary{cursor:pointer;color:#24507a}table{border-collapse:collapse;font-size:.9rem}
td,th{padding:.15rem .8rem .15rem 0;text-align:left;vertical-align:top}
b{background:#24507a;color:#fff;border-radius:4px;padding:.05rem .45rem;font-size:.8rem;margin-right:.5rem}
@media(prefers-color-scheme:dark){body{background:#14181e;color:#d8dee6}pre{background:#1e242c}summary{color:#8cbcf0}
h3{color:#9ab}b{background:#8cbcf0;color:#14181e}}
"""


def page(document: Mapping[str, Any]) -> str:
    """The page.

    Args:
        document: As :func:`edgekit.serve.openapi.document` makes it.
    """
    schemas = document["components"]["schemas"]
    parts = [
        _operation(path, method, one, schemas)
        for path, ways in document["paths"].items()
        for method, one in ways.items()
    ]
    info = document["info"]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(info['title'])}</title><style>{_STYLE}</style></head><body>"
        f"<h1>{escape(info['title'])} {escape(info['version'])}</h1><p>{escape(info['description'])}</p>"
        "<p>For programs: <code>GET /openapi.json</code>.</p>"
        f"{''.join(parts)}</body></html>"
    )


def _operation(path: str, method: str, operation: Mapping[str, Any], schemas: Mapping[str, Any]) -> str:
    text = f"<h2><b>{method.upper()}</b>{escape(path)}</h2><p>{escape(operation['summary'])}</p>"
    text += f"<p>{escape(operation['description'])}</p>" if "description" in operation else ""
    contents = operation.get("requestBody", {}).get("content", {})
    if contents:
        text += f"<h3>Try it</h3><pre>{escape(_curl(path, contents))}</pre>"
    for media, content in contents.items():
        text += _schema(f"Request, {media}", content["schema"], schemas)
    for media, content in operation["responses"]["200"]["content"].items():
        text += _schema(f"Answer, {media}", content["schema"], schemas)
    rows = "".join(
        f"<tr><td>{status}</td><td>{escape(answer['description'])}</td></tr>"
        for status, answer in operation["responses"].items()
        if status != "200"
    )
    return text + (f"<details><summary>Other answers</summary><table>{rows}</table></details>" if rows else "")


def _curl(path: str, contents: Mapping[str, Any]) -> str:
    if "multipart/form-data" in contents:
        parameters = contents["application/json"]["example"].get("parameters")
        more = f" \\\n  -F 'parameters={json.dumps(parameters)}'" if parameters else ""
        return f"curl http://HOST:PORT{path} -F file=@FILE{more}"
    body = json.dumps(contents["application/json"]["example"])
    return f"curl http://HOST:PORT{path} \\\n  -H 'content-type: application/json' \\\n  -d '{body}'"


def _schema(title: str, schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> str:
    named: dict[str, Any] = {}
    _gather(schema, schemas, named)
    shown = json.dumps({"schema": schema} | ({"where": named} if named else {}), indent=1)
    shown = shown.replace("#/components/schemas/", "")
    return f"<details><summary>{escape(title)}</summary><pre>{escape(shown)}</pre></details>"


def _gather(value: Any, schemas: Mapping[str, Any], named: dict[str, Any]) -> None:
    """The schemas that one refers to."""
    if isinstance(value, Mapping):
        name = str(value.get("$ref", "")).rpartition("/")[2]
        if name and name not in named:
            named[name] = schemas[name]
            _gather(schemas[name], schemas, named)
        for one in value.values():
            _gather(one, schemas, named)
    elif isinstance(value, list):
        for one in value:
            _gather(one, schemas, named)
