"""``edgekit.json`` of schema 1.x, whose bundles hold one graph that embeds text, as one of schema 2.0."""

from __future__ import annotations

import re
from typing import Any

from edgekit.spec.reader import Table


def upgraded(table: Table) -> Table:
    """The same document in the words of 2.0; any other major version is given back as it is.

    Raises:
        RecordError: A key that moves is missing or of the wrong type.
    """
    version = table.raw("schema_version") if "schema_version" in table else None
    match = re.fullmatch(r"1\.(\d{1,4})", version) if isinstance(version, str) else None
    if match is None:
        return table
    values: dict[str, Any] = {name: table.raw(name) for name in table.names()}
    values["schema_version"] = f"2.{match[1]}"
    values["components"] = {"model": {name: _moved(values, table, name) for name in ("inputs", "outputs")}}
    values["settings"] = {name: _moved(values, table, name) for name in ("text", "embedding")}
    values["variants"] = [_variant(item) for item in table.tables("variants", max_items=256)]
    return Table(values, table.path)


def _moved(values: dict[str, Any], table: Table, name: str) -> Any:
    table.raw(name)  # says so where it is missing
    return values.pop(name)


def _variant(table: Table) -> dict[str, Any]:
    values = {name: table.raw(name) for name in table.names()}
    values["graphs"] = {"model": table.string("model_file")}
    values["self_test_min"] = table.number("self_test_cosine", minimum=-1, maximum=1)
    del values["model_file"], values["self_test_cosine"]
    return values
