"""A target: a class of devices, read from a TOML record in ``targets/``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from edgekit.spec.provider import CPU, CPU_ONLY, PROVIDERS
from edgekit.spec.reader import Table

ANY: Final = "any"
WASM: Final = "wasm32"
ARCHITECTURES: Final = ("x86_64", "arm64", WASM, ANY)
EXECUTION_PROVIDERS: Final = tuple(PROVIDERS)

# Linux's names (/proc/cpuinfo) on x86 and Arm, to which edgekit.runtime.host maps other systems'; WebAssembly's own.
CPU_FEATURES: Final = {
    "x86_64": ("avx", "avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512vl", "avx512_vnni", "avx_vnni"),
    "arm64": ("asimd", "asimddp", "asimdhp", "i8mm", "sve", "bf16"),
    WASM: ("simd128",),
    ANY: (),
}


@dataclass(frozen=True, slots=True)
class Target:
    """A class of devices a variant is made for.

    Attributes:
        name: For example ``x86_64-avx2``.
        summary: One line for people.
        architecture: One of :data:`ARCHITECTURES`; ``any`` where another processor than the CPU does the work.
        cpu_features: Features every such device has, by Linux's names.
        execution_provider: ONNX Runtime's name.
        rank: Preference on a host that fits several targets; the higher one is more specific.
    """

    name: str
    summary: str
    architecture: str
    cpu_features: tuple[str, ...]
    execution_provider: str
    rank: int

    @property
    def int8_products_saturate(self) -> bool:
        """Whether ONNX Runtime multiplies uint8 by int8 through a 16-bit sum here.

        x86 without VNNI uses ``vpmaddubsw``, which adds two products into 16 bits and saturates
        (onnxruntime issues 6004 and 14642). Arm accumulates in 32 bits, with or without dot product.
        """
        return self.architecture == "x86_64" and not {"avx512_vnni", "avx_vnni"} & set(self.cpu_features)

    @property
    def on_cpu(self) -> bool:
        """Whether the CPU does the work, so that its features decide."""
        return self.execution_provider == CPU

    def missing_on(
        self, architecture: str, cpu_features: frozenset[str], providers: frozenset[str] = CPU_ONLY
    ) -> tuple[str, ...]:
        """What a host lacks to be such a device; empty where the target fits.

        Args:
            architecture: The host's.
            cpu_features: The host's.
            providers: Execution providers that its ONNX Runtime has.
        """
        if self.execution_provider not in providers:
            return (self.execution_provider,)
        if self.architecture not in (ANY, architecture):
            return (self.architecture,)
        return tuple(feature for feature in self.cpu_features if feature not in cpu_features)

    @classmethod
    def read(cls, name: str, table: Table) -> Target:
        """Read a record.

        Raises:
            RecordError: A key is missing, unknown or of the wrong type or value.
        """
        architecture = table.string("architecture", choices=ARCHITECTURES)
        features = table.strings("cpu_features")
        for feature in features:
            if feature not in CPU_FEATURES[architecture]:
                raise table.error("cpu_features", f"{feature!r} is no feature of {architecture} known here")
        provider = table.string("execution_provider", choices=EXECUTION_PROVIDERS)
        if provider == CPU and architecture == ANY:
            raise table.error("architecture", f"{CPU} runs on one of {', '.join(ARCHITECTURES[:-1])}, not on {ANY!r}")
        target = cls(
            name=name,
            summary=table.string("summary"),
            architecture=architecture,
            cpu_features=features,
            execution_provider=provider,
            rank=table.integer("rank", maximum=1000),
        )
        table.done()
        return target

    def to_json(self) -> dict[str, Any]:
        """The record as JSON values, as :meth:`read` takes them."""
        return {
            "summary": self.summary,
            "architecture": self.architecture,
            "cpu_features": list(self.cpu_features),
            "execution_provider": self.execution_provider,
            "rank": self.rank,
        }
