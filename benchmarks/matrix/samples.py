"""Sample inputs of a model, found by the names its forward takes.

Every maker gets the configuration, the batch and a shape, and gives tensors; a model whose inputs
cannot be guessed from names has an entry of its own in ``BY_TYPE``, one small function each.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of one sample: tokens of text, height and width in units of the model's image, audio length in units."""

    tokens: int
    height: int
    width: int
    audio: int


EXPORT: Final = Shape(tokens=9, height=2, width=3, audio=5)
SHAPES: Final = (
    Shape(tokens=6, height=1, width=2, audio=3),
    Shape(tokens=13, height=2, width=1, audio=4),
    Shape(tokens=31, height=3, width=2, audio=7),
)
SQUARE: Final = Shape(tokens=9, height=1, width=1, audio=5)
EXPORT_BATCH: Final = 2
BATCHES: Final = (1, 3)
_RAW_AUDIO_UNIT: Final = 800  # samples; wav2vec2's convolutions turn 320 into a frame
_FRAMES_UNIT: Final = 8


@dataclass(frozen=True, slots=True)
class Asked:
    """What a maker needs to know: the configuration, the sizes, and its own source of random numbers."""

    config: Any
    batch: int
    shape: Shape
    draw: torch.Generator

    def floats(self, *shape: int) -> torch.Tensor:
        """Standard normal float32."""
        return torch.randn(shape, generator=self.draw)

    def integers(self, low: int, high: int, *shape: int) -> torch.Tensor:
        """Uniform int64 in [low, high)."""
        return torch.randint(low, high, shape, generator=self.draw)


def sample(model: Any, batch: int, shape: Shape, *, seed: int) -> dict[str, torch.Tensor]:
    """Inputs for ``model.forward``, all named, the same for the same seed."""
    asked = Asked(model.config, batch, shape, torch.Generator().manual_seed(seed))
    own = BY_TYPE.get(model.config.model_type)
    if own is not None:
        return own(asked)
    taken = inspect.signature(model.forward).parameters
    made = {name: maker(asked) for name, maker in MAKERS.items() if name in taken}
    if "attention_mask" in made and "input_ids" not in made:
        del made["attention_mask"]  # of audio and images: the whole input is there
    if "input_features" in made or "input_values" in made:
        made.pop("pixel_values", None)
    if "token_type_ids" in made and int(_text(model.config, "type_vocab_size", 0) or 0) < 2:
        del made["token_type_ids"]
    return made


def _text(config: Any, name: str, default: Any) -> Any:
    text = getattr(config, "text_config", None)
    return getattr(config, name, None) if text is None or hasattr(config, name) else getattr(text, name, default)


def _lengths(asked: Asked) -> list[int]:
    """Row 0 is full, the others are shorter, as texts of a batch are."""
    return [max(2, asked.shape.tokens - 2 * row) for row in range(asked.batch)]


def _input_ids(asked: Asked) -> torch.Tensor:
    config = asked.config
    ids = asked.integers(5, min(90, _text(config, "vocab_size", 90) or 90), asked.batch, asked.shape.tokens)
    end, pad = _text(config, "eos_token_id", None), _text(config, "pad_token_id", None)
    for row, length in enumerate(_lengths(asked)):
        if isinstance(end, int) and end >= 0:
            ids[row, length - 1] = end
        ids[row, length:] = pad if isinstance(pad, int) and pad >= 0 else 0
    return ids


def _attention_mask(asked: Asked) -> torch.Tensor:
    mask = torch.zeros(asked.batch, asked.shape.tokens, dtype=torch.int64)
    for row, length in enumerate(_lengths(asked)):
        mask[row, :length] = 1
    return mask


def _token_type_ids(asked: Asked) -> torch.Tensor:
    types = torch.zeros(asked.batch, asked.shape.tokens, dtype=torch.int64)
    types[:, asked.shape.tokens // 2 :] = 1
    return types


def _decoder_input_ids(asked: Asked) -> torch.Tensor:
    return asked.integers(5, 90, asked.batch, asked.shape.tokens // 2 + 2)


def _bbox(asked: Asked) -> torch.Tensor:
    corner = asked.integers(0, 400, asked.batch, asked.shape.tokens, 2)
    return torch.cat([corner, corner + asked.integers(1, 400, asked.batch, asked.shape.tokens, 2)], dim=-1)


def _pixel_values(asked: Asked) -> torch.Tensor:
    config = asked.config
    own = [
        getattr(config, name) for name in ("vision_config", "image_config", "backbone_config") if hasattr(config, name)
    ]
    vision = next((one for one in own if getattr(one, "image_size", None)), config)
    size = getattr(vision, "image_size", None) or 32
    height, width = size if isinstance(size, (list, tuple)) else (size, size)
    channels = getattr(vision, "num_channels", 3)
    return asked.floats(asked.batch, channels, height * asked.shape.height, width * asked.shape.width)


def _input_values(asked: Asked) -> torch.Tensor:
    return asked.floats(asked.batch, _RAW_AUDIO_UNIT * asked.shape.audio)


def _input_features(asked: Asked) -> torch.Tensor:
    """(batch, frames, features), as speech models other than Whisper take it."""
    config = getattr(asked.config, "audio_config", asked.config)
    names = ("input_feat_per_channel", "feature_projection_input_dim", "num_mel_bins", "input_dim")
    features = next((getattr(config, name) for name in names if getattr(config, name, None)), 16)
    return asked.floats(asked.batch, _FRAMES_UNIT * asked.shape.audio, features)


def whisper(asked: Asked) -> dict[str, torch.Tensor]:
    """Whisper hears windows of one length, features first."""
    config = asked.config
    frames = 2 * config.max_source_positions
    return {
        "input_features": asked.floats(asked.batch, config.num_mel_bins, frames),
        "decoder_input_ids": _decoder_input_ids(asked),
    }


def spectrogram_transformer(asked: Asked) -> dict[str, torch.Tensor]:
    """AST reads a spectrogram of a fixed number of frames."""
    return {"input_values": asked.floats(asked.batch, asked.config.max_length, asked.config.num_mel_bins)}


def waveform(asked: Asked) -> dict[str, torch.Tensor]:
    """Codecs take channels of audio: (batch, 1, samples)."""
    return {"input_values": _input_values(asked)[:, None]}


def video(asked: Asked) -> dict[str, torch.Tensor]:
    """Video models take frames of pictures: (batch, frames, channels, height, width)."""
    config = asked.config
    pictures = _pixel_values(asked)[:, None]
    frames = getattr(getattr(config, "vision_config", config), "num_frames", 4)
    made = {"pixel_values": pictures.repeat(1, frames, 1, 1, 1) + 0.1 * asked.floats(asked.batch, frames, 1, 1, 1)}
    if hasattr(config, "text_config"):
        made = {"input_ids": _input_ids(asked), "attention_mask": _attention_mask(asked), **made}
    return made


def patches(asked: Asked) -> dict[str, torch.Tensor]:
    """SigLIP 2 takes pictures cut into patches, with the grid each row came from."""
    vision = asked.config.vision_config
    height, width = 2 * asked.shape.height, asked.shape.width
    return {
        "input_ids": _input_ids(asked),
        "pixel_values": asked.floats(asked.batch, height * width, vision.num_channels * vision.patch_size**2),
        "pixel_attention_mask": torch.ones(asked.batch, height * width, dtype=torch.int64),
        "spatial_shapes": torch.tensor([[height, width]] * asked.batch),
    }


def lxmert(asked: Asked) -> dict[str, torch.Tensor]:
    """LXMERT reads text and the features and boxes of image regions."""
    regions, config = 5, asked.config
    return {
        "input_ids": _input_ids(asked),
        "attention_mask": _attention_mask(asked),
        "visual_feats": asked.floats(asked.batch, regions, config.visual_feat_dim),
        "visual_pos": asked.floats(asked.batch, regions, config.visual_pos_dim),
    }


def tapas(asked: Asked) -> dict[str, torch.Tensor]:
    """TAPAS has seven token types: row, column, rank and others."""
    return {
        "input_ids": _input_ids(asked),
        "attention_mask": _attention_mask(asked),
        "token_type_ids": asked.integers(0, 2, asked.batch, asked.shape.tokens, 7),
    }


MAKERS: Final[Mapping[str, Callable[[Asked], torch.Tensor]]] = {
    "input_ids": _input_ids,
    "attention_mask": _attention_mask,
    "token_type_ids": _token_type_ids,
    "bbox": _bbox,
    "pixel_values": _pixel_values,
    "input_values": _input_values,
    "input_features": _input_features,
    "decoder_input_ids": _decoder_input_ids,
}
BY_TYPE: Final[Mapping[str, Callable[[Asked], dict[str, torch.Tensor]]]] = {
    "whisper": whisper,
    "audio-spectrogram-transformer": spectrogram_transformer,
    "lxmert": lxmert,
    "tapas": tapas,
    "dac": waveform,
    "encodec": waveform,
    "siglip2": patches,
    "timesformer": video,
    "videomae": video,
    "vivit": video,
    "xclip": video,
}
