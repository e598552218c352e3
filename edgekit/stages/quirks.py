"""Quirks: what single architectures need so that their graph is right, one small function each.

A quirk changes the sample that is traced, never the model's answers: the reference stays as it is. Each says the
symptom, the cause, and how it was seen; ``make matrix`` proves every one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

Sample = Mapping[str, Any]


def fitted_sample(module: Any, sample: Sample) -> Sample:
    """The sample to trace ``module`` with, after the quirks of the architectures inside it.

    Args:
        module: A torch module; the models in it are known by their configurations.
        sample: Example inputs by name.
    """
    found = {type_: part for part in module.modules() if (type_ := _model_type(part)) in _SAMPLES}
    for type_, part in sorted(found.items()):
        sample = _SAMPLES[type_](part, sample)
    return sample


def odd_frames(model: Any, sample: Sample) -> Sample:
    """SEW: audio of an odd number of frames came out wrong by a tenth of the logits, without a complaint.

    The encoder halves the frames, doubles them again, and pads by one only where their number was odd. The trace
    follows the sample through that branch and keeps it. Through the padding branch an even number is padded by zero
    frames, so a sample with an odd number of frames serves both.
    """
    audio = sample["input_values"]
    length = int(audio.shape[-1])
    while _frames(model, length) % 2 == 0:
        length -= 1
    return {
        **sample,
        **{name: sample[name][..., :length] for name in ("input_values", "attention_mask") & sample.keys()},
    }


def _frames(model: Any, samples: int) -> int:
    for kernel, stride in zip(model.config.conv_kernel, model.config.conv_stride, strict=True):
        samples = (samples - kernel) // stride + 1
    return samples


def _model_type(module: Any) -> str:
    return str(getattr(getattr(module, "config", None), "model_type", ""))


_SAMPLES: Final[Mapping[str, Callable[[Any, Sample], Sample]]] = {
    "sew": odd_frames,
    "sew-d": odd_frames,
}
