"""ONNX Runtime's execution providers that a bundle can be made for, and what each needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

CPU: Final = "CPUExecutionProvider"
CPU_ONLY: Final = frozenset({CPU})


@dataclass(frozen=True, slots=True)
class Provider:
    """An execution provider.

    Attributes:
        name: ONNX Runtime's name.
        short: The end of a variant's name; empty for the CPU's.
        device: What ONNX Runtime's model package calls its device; empty where it is not one kind of device.
        install: What gives a machine the provider.
        beside: Providers of the same device that take the nodes it does not take.
        options: Its options in a session, by the variant's precision.
    """

    name: str
    short: str = ""
    device: str = ""
    install: str = ""
    beside: tuple[str, ...] = ()
    options: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


# CUDA cuts float32 products to TF32's ten bits unless told not to: a variant that says float32 is float32. TensorRT
# keeps every type of the file, spared float32 nodes too, only while no precision is named (trt_fp16_enable,
# trt_int8_enable): with one it chooses types itself (onnxruntime pull request 18707).
PROVIDERS: Final[Mapping[str, Provider]] = {
    provider.name: provider
    for provider in (
        Provider(CPU, device="cpu"),
        Provider(
            "CUDAExecutionProvider",
            short="cuda",
            device="gpu",
            install="an NVIDIA GPU and `pip install onnxruntime-gpu[cuda,cudnn]` instead of onnxruntime",
            options={"float32": {"use_tf32": "0"}},
        ),
        Provider(
            "TensorrtExecutionProvider",
            short="tensorrt",
            device="gpu",
            install="an NVIDIA GPU, `pip install onnxruntime-gpu[cuda,cudnn]` instead of onnxruntime, and TensorRT",
            beside=("CUDAExecutionProvider",),
        ),
        Provider(
            "DmlExecutionProvider",
            short="directml",
            device="gpu",
            install="Windows with a DirectX 12 GPU and `pip install onnxruntime-directml` instead of onnxruntime",
        ),
        Provider(
            "CoreMLExecutionProvider",
            short="coreml",
            install="macOS, whose `pip install onnxruntime` has it",
            options={precision: {"ModelFormat": "MLProgram"} for precision in ("float32", "float16")},
        ),
        Provider(
            "WebGpuExecutionProvider",
            short="webgpu",
            device="gpu",
            install="a browser with WebGPU and the npm package onnxruntime-web",
        ),
    )
}


def options_of(name: str, precision: str) -> Mapping[str, str]:
    """The options a variant of that precision gets from a provider."""
    return PROVIDERS[name].options.get(precision, {})
