"""How much a request may have written, and whether it draws tokens at random."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from edgekit.runtime.sampling import DEFAULT_NEW_TOKENS
from edgekit.serve.failures import RefusedError
from edgekit.spec.settings.generation import GenerationSettings

if TYPE_CHECKING:
    from edgekit.runtime import Model


def bounded(model: Model, options: dict[str, Any], most: int) -> dict[str, Any]:
    """The options with at most so many new tokens; unchanged where the model writes none.

    Raises:
        RefusedError: More are asked for (422).
    """
    settings = _settings(model)
    if settings is None:
        return options
    asked = options.get("max_new_tokens")
    if asked is not None and asked > most:
        raise RefusedError(
            f"parameters.max_new_tokens: {asked} is more than the {most} that this service writes",
            status=422,
            kind="limit",
        )
    usual = settings.max_new_tokens if settings.max_new_tokens is not None else settings.max_length
    if asked is not None or (DEFAULT_NEW_TOKENS if usual is None else usual) <= most:
        return options
    return options | {"max_new_tokens": most}


def draws(model: Model, options: Mapping[str, Any]) -> bool:
    """Whether tokens are drawn at random: then what a seed gives would depend on who shares the call."""
    settings = _settings(model)
    if settings is None:
        return False
    chosen = options.get("do_sample")
    return settings.do_sample if chosen is None else bool(chosen)


def _settings(model: Model) -> GenerationSettings | None:
    found = model.manifest.settings.get(GenerationSettings.key)
    return found if isinstance(found, GenerationSettings) else None
