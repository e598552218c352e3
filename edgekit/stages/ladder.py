"""Which recipes there are, and in which order they are tried; :mod:`.recipes` makes them.

Apart from what makes them, for a name is checked, and a finished result found, without the libraries that build.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from edgekit.errors import UsageError
from edgekit.spec.provider import CPU, PROVIDERS
from edgekit.spec.reader import nearest

BITS: Final = 8  # of weights in blocks, where a recipe says no other
BLOCK: Final = 32  # inputs that share a scale there


@dataclass(frozen=True, slots=True)
class Blocks:
    """How the weights of a generating model are stored.

    Attributes:
        bits: Of a product's weight: 4 or 8.
        block: Inputs that share a scale there.
        head_bits: Of the head's weights and of large embedding tables.
        head_block: Inputs that share a scale there.
        spare: Share of the products, those whose outputs rounding disturbs most, that get 8 bits.
    """

    bits: int = BITS
    block: int = BLOCK
    head_bits: int = BITS
    head_block: int = BLOCK
    spare: float = 0


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to make a variant.

    Attributes:
        name: For people and ``--recipe``, for example ``int8-dynamic+smooth``.
        precision: Of its products; names the parity budget.
        products: ``dynamic``, ``static``, ``blockwise`` or empty for float.
        smooth: Whether the ranges of activations move into the weights first.
        spare: Share of the multiplications that stays in float, in the products where rounding does most harm.
        bits: Of a weight, where the products are blockwise.
        block: Inputs that share a scale there.
        generates: How the components of a generating model are stored, embedding tables and the head, tied or not,
            too; None where it is for other models.
        calibrated: Whether integers and scales are chosen by what they do to outputs on calibration data, see
            :mod:`.rounding` and :mod:`.column_rounding`; to the nearest otherwise. Smoothed products keep their
            outliers in float then.
    """

    name: str
    precision: str
    products: str = ""
    smooth: bool = False
    spare: float = 0
    bits: int = BITS
    block: int = BLOCK
    generates: Blocks | None = None
    calibrated: bool = False

    @property
    def variant_name(self) -> str:
        """The name as a variant and folder of a bundle."""
        return self.name.replace("+", "-")

    @property
    def session_options(self) -> Mapping[str, str]:
        """ONNX Runtime session entries it is judged and shipped with.

        Fused with the residual add, layer normalization runs on one thread on the CPU; kept apart it
        makes int8 encoders 10 to 24 % faster.
        """
        if self.products == "static":
            # As written: fused into integer kernels, the same file saturates on x86 without VNNI.
            return {"session.disable_quant_qdq": "1"}
        if self.precision == "float16":
            # Fused over the border of a spared node, the operands are of two types and the file does not open.
            return {"optimization.disable_specified_optimizers": "SkipLayerNormFusion"}
        return {"optimization.disable_specified_optimizers": "SkipLayerNormFusion"} if self.products else {}


DECODE: Final = "decode"  # the component that makes a model a generating one

FP32: Final = Recipe("fp32", "float32")

# From the fastest to the closest; the first that passes is shipped.
LADDER: Final = (
    Recipe("int8-dynamic", "int8", "dynamic"),
    Recipe("int8-dynamic+smooth", "int8", "dynamic", smooth=True, calibrated=True),
    Recipe("int8-dynamic+smooth+spare", "int8", "dynamic", smooth=True, calibrated=True, spare=1 / 6),
    Recipe("int8-dynamic+smooth+spare-half", "int8", "dynamic", smooth=True, calibrated=True, spare=1 / 2),
    Recipe("int8-blockwise", "int8", "blockwise"),
    FP32,
)

# A decoder reads all its weights for every token, so fewer bytes are faster, and large blocks read faster than small.
# Ordered by bytes read for a token, of the head's bits first, for a head is the largest product of all; what of this
# order was timed, docs/generation.md says.
GENERATION_LADDER: Final = (
    Recipe("int4-blockwise", "int4", "blockwise", calibrated=True, generates=Blocks(4, 128, 4, 128)),
    Recipe("int4-blockwise+head8", "int4", "blockwise", calibrated=True, generates=Blocks(4, 128, 8, 128)),
    Recipe("int4-blockwise+fine", "int4", "blockwise", calibrated=True, generates=Blocks(4, 32, 8, 128)),
    Recipe("int4-blockwise+fine+spare", "int4", "blockwise", calibrated=True, generates=Blocks(4, 32, 8, 128, 1 / 4)),
    Recipe("int8-blockwise", "int8", "blockwise", generates=Blocks()),
    FP32,
)

# GPUs multiply float16 fastest of what needs no calibrated ranges; TensorRT has int8 kernels for fixed ranges too.
FP16: Final = Recipe("fp16", "float16")
GPU_LADDER: Final = (FP16, FP32)
# Not every adapter computes float16, and onnxruntime-web leaves dynamic int8 products to the CPU, those by blocks not.
WEB_GPU_LADDER: Final = (Recipe("int8-blockwise", "int8", "blockwise"), FP32)
STATIC_LADDER: Final = (
    Recipe("int8-static", "int8", "static"),
    Recipe("int8-static+smooth", "int8", "static", smooth=True),
    *GPU_LADDER,
)


def ladder(name: str | None, components: Collection[str] = (), provider: str = CPU) -> tuple[Recipe, ...]:
    """The recipes to try: all in order, or the one asked for.

    Args:
        name: A recipe's, one of :func:`candidates`; all of the climb where None.
        components: Of the model, which decide what fits it: one that decodes is generating.
        provider: Execution provider that it is made for.

    Raises:
        UsageError: No such recipe.
    """
    generates = DECODE in components
    fitting: tuple[Recipe, ...] = GENERATION_LADDER if generates else LADDER
    if provider != CPU:
        fitting = STATIC_LADDER if provider == "TensorrtExecutionProvider" and not generates else GPU_LADDER
        if provider == "WebGpuExecutionProvider":
            fitting = (FP32,) if generates else WEB_GPU_LADDER
    if name is None:
        return fitting
    known = candidates(components, provider)  # what a search has chosen can be made again
    names = tuple(recipe.name for recipe in known)
    if name not in names:
        place = f" for {PROVIDERS[provider].short} targets" if provider != CPU else ""
        raise UsageError(f"{name!r} is no recipe{place}", hint=nearest(name, names) or f"recipes: {', '.join(names)}")
    return tuple(recipe for recipe in known if recipe.name == name)


def candidates(components: Collection[str], provider: str) -> tuple[Recipe, ...]:
    """The recipes that a search tries, in the order of their cost: the ladder's, and more of its spared sets."""
    fitting = ladder(None, components, provider)
    if provider != CPU or DECODE in components:
        return fitting
    between = {
        name: Recipe(f"int8-dynamic+smooth+{name}", "int8", "dynamic", smooth=True, calibrated=True, spare=share)
        for name, share in (("spare-twelfth", 1 / 12), ("spare-third", 1 / 3))
    }
    plain, smoothed, sixth, half, *rest = fitting
    return (plain, smoothed, between["spare-twelfth"], sixth, between["spare-third"], half, *rest)


def check_name(name: str | None) -> None:
    """Refuse the name of a recipe that no model has, before anything is loaded.

    Raises:
        UsageError: No such recipe.
    """
    if name is not None and name not in {recipe.name for recipe in (*GENERATION_LADDER, *STATIC_LADDER)}:
        ladder(name)
