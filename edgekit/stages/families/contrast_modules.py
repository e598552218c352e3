"""The two encoders of a model of the CLIP kind as torch modules, up to their vectors; imports torch."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


class ImageEncoder(nn.Module):  # type: ignore[misc]  # torch is not read by mypy
    """From pixel values to ``image_embeds``, (batch, dimension), before they are scaled to unit length."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixel_values: Tensor) -> dict[str, Tensor]:
        """See the class."""
        return {"image_embeds": _vector(self.model.get_image_features(pixel_values=pixel_values))}


class TextEncoder(nn.Module):  # type: ignore[misc]  # torch is not read by mypy
    """From token ids to ``text_embeds``, (batch, dimension), before they are scaled to unit length."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, **tokens: Tensor) -> dict[str, Tensor]:
        """See the class."""
        return {"text_embeds": _vector(self.model.get_text_features(**tokens))}


def _vector(features: Any) -> Tensor:
    vector: Tensor = features if isinstance(features, Tensor) else features.pooler_output
    return vector
