"""Quirks: what single architectures need so that their graph is right, one small function each.

A quirk changes the sample that is traced, or how the trace reads a number, never the model's answers: the reference
stays as it is. Each says the symptom and the cause; ``make matrix`` proves every one of them.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any, Final

Sample = Mapping[str, Any]


def fitted_sample(module: Any, sample: Sample) -> Sample:
    """The sample to trace ``module`` with, after the quirks of the architectures inside it.

    Args:
        module: A torch module; the models in it are known by their configurations.
        sample: Example inputs by name.
    """
    for type_, part in sorted(_parts(module, _SAMPLES).items()):
        sample = _SAMPLES[type_](part, sample)
    return sample


@contextlib.contextmanager
def fitted_trace(module: Any) -> Iterator[None]:
    """Trace ``module`` within this, so that the quirks of the architectures inside it hold meanwhile."""
    with contextlib.ExitStack() as held:
        for type_, part in sorted(_parts(module, _TRACES).items()):
            held.enter_context(_TRACES[type_](part))
        yield


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


@contextlib.contextmanager
def free_sizes(model: Any) -> Iterator[None]:
    """Depth Anything: pictures of other sizes got a depth of the sample's size, without a complaint.

    Its head calls ``int()`` on a height and a width, at which the trace takes the sample's numbers for the only ones.
    They are whole already, so while its file is traced ``int`` there leaves them as they are.
    """
    import torch

    file = sys.modules[type(model).__module__]
    vars(file)["int"] = lambda value: value if isinstance(value, torch.SymInt) else int(value)
    try:
        yield
    finally:
        del vars(file)["int"]


def _parts(module: Any, quirks: Mapping[str, Any]) -> dict[str, Any]:
    """The models inside that have a quirk, by their types."""
    return {type_: part for part in module.modules() if (type_ := _model_type(part)) in quirks}


def _model_type(module: Any) -> str:
    return str(getattr(getattr(module, "config", None), "model_type", ""))


_SAMPLES: Final[Mapping[str, Callable[[Any, Sample], Sample]]] = {
    "sew": odd_frames,
    "sew-d": odd_frames,
}
_TRACES: Final[Mapping[str, Callable[[Any], AbstractContextManager[None]]]] = {
    "depth_anything": free_sizes,
}
