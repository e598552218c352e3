"""The one border to ONNX Runtime: from verified bytes to answers, with edgekit's errors."""

from __future__ import annotations

import dataclasses
import posixpath
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
import numpy.typing as npt

from edgekit.bundle.reading import Bundle
from edgekit.errors import EdgekitError, HostError, InputError, IntegrityError, UsageError
from edgekit.runtime import host
from edgekit.runtime.binding import Binding
from edgekit.runtime.external_data import ExternalTensor, external_tensors
from edgekit.runtime.weights import hand_over, read_weights
from edgekit.spec.manifest import Manifest, Tensor, Variant
from edgekit.spec.provider import CPU, PROVIDERS, options_of

if TYPE_CHECKING:
    import onnxruntime

# What a bundle may set. Other entries of ONNX Runtime name files to write or to read, or are the host's to decide.
SESSION_OPTIONS: Final = frozenset(
    {
        "mlas.disable_kleidiai",
        "mlas.qnbit.force_fp32",
        "mlas.use_lut_gemm",
        "optimization.disable_specified_optimizers",
        "optimization.enable_cast_chain_elimination",
        "optimization.enable_gelu_approximation",
        "session.disable_aot_function_inlining",
        "session.disable_double_qdq_remover",
        "session.disable_prepacking",
        "session.disable_qdq_constant_folding",
        "session.disable_quant_qdq",
        "session.dynamic_block_base",
        "session.enable_dq_matmulnbits_fusion",
        "session.enable_quant_qdq_cleanup",
        "session.graph_optimizations_loop_level",
        "session.intra_op.allow_spinning",  # for other languages; here threads spin during a run
        "session.qdq_matmulnbits_accuracy_level",
        "session.qdq_matmulnbits_block_size",
        "session.qdqisint8allowed",
        "session.set_denormal_as_zero",
        "session.use_deterministic_compute",
        "session.x64quantprecision",
    }
)

_ORT_TYPES: Final = {"float": "float32", "double": "float64"}
_ERROR_LOG: Final = 3
_NODE: Final = re.compile(r"while running (\w+) node")  # in what ONNX Runtime says
_LOOKUPS: Final = ("Gather", "Embed")  # how operators begin that take rows of a table by ids

# What a GPU is there for. Arithmetic on shapes may stay on the CPU: providers leave it there by design.
_HEAVY: Final = frozenset(
    {"Attention", "Conv", "Gemm", "GroupQueryAttention", "MatMul", "MatMulNBits", "MultiHeadAttention"}
)


class Session:
    """An open graph. :func:`open_session` makes it; threads may share it.

    Attributes:
        inputs: What :meth:`run` takes.
        outputs: What it gives.
    """

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        inputs: tuple[Tensor, ...],
        outputs: tuple[Tensor, ...],
        weights: Mapping[str, onnxruntime.OrtValue],
    ) -> None:
        self.inputs = inputs
        self.outputs = outputs
        self._session: onnxruntime.InferenceSession | None = session
        self._weights = weights  # ONNX Runtime reads these in place: they live as long as the session

    @property
    def weights(self) -> Mapping[str, onnxruntime.OrtValue]:
        """Those that lie outside the graph, by name: memory that another session of the graph can use too.

        Raises:
            UsageError: The session is closed.
        """
        self._open()
        return self._weights

    def run(self, feeds: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        """The outputs for one batch.

        Args:
            feeds: An array for every input, of its dtype and shape.

        Returns:
            Every output by name.

        Raises:
            InputError: The feeds do not match the inputs.
            HostError: ONNX Runtime failed while running.
            UsageError: The session is closed.
        """
        session = self._open()
        _check_feeds(self.inputs, feeds)
        try:
            answers = session.run([tensor.name for tensor in self.outputs], dict(feeds))
        except Exception as error:
            raise _run_error(error) from error
        return {tensor.name: answer for tensor, answer in zip(self.outputs, answers, strict=True)}

    def binding(self) -> Binding:
        """A way to run the graph over buffers that stay in place, for one thread.

        Raises:
            UsageError: The session is closed.
        """
        return Binding(self._open(), self.inputs, self.outputs, _run_error)

    def placement(self) -> Counter[str] | None:
        """How many nodes each execution provider was given; None where this onnxruntime does not tell.

        ONNX Runtime places nodes before it fuses those of a provider, so that these are more than are run.

        Raises:
            UsageError: The session is closed.
        """
        session = self._open()
        if not hasattr(session, "get_provider_graph_assignment_info"):
            return None
        placed: Counter[str] = Counter()
        for part in session.get_provider_graph_assignment_info():
            placed[part.ep_name] += len(part.get_nodes())
        return placed

    def close(self) -> None:
        """Give the memory back. Running it afterwards is a UsageError."""
        self._session = None
        self._weights = {}

    def _open(self) -> onnxruntime.InferenceSession:
        if self._session is None:
            raise UsageError("this model is closed", hint="load the bundle again")
        return self._session

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_session(  # noqa: PLR0913 - each is one choice of whoever opens it
    bundle: Bundle,
    variant: Variant,
    component: str = "model",
    *,
    weights: dict[str, memoryview] | None = None,
    like: Session | None = None,
    threads: int,
    spin: bool = False,
    provider: str | None = None,
    optimized: Path | None = None,
) -> Session:
    """Open a component's graph from verified memory; ONNX Runtime is given no path to open.

    Args:
        bundle: The open bundle.
        variant: One of its variants.
        component: One of the bundle's components.
        weights: Weight files that another component has read already, by name; those read here are added.
        like: An open session of the same graph, whose weights are used where they are and not read again.
        threads: Within one operator, the caller's included.
        spin: Whether threads burn CPU between two runs too, to answer the next one sooner.
        provider: Execution provider to run on; that of the variant's targets where None.
        optimized: Where ONNX Runtime writes the graph as it optimised it, for looking at; it also records then which
            provider runs which node (:meth:`Session.placement`).

    Raises:
        IntegrityError: A file is not what the manifest lists, or the graph is not what the manifest describes.
        HostError: This onnxruntime cannot run the graph, or not on the provider asked for.
    """
    manifest = bundle.manifest
    provider = provider or _provider(manifest, variant)
    if component not in manifest.components:
        raise IntegrityError(f"edgekit.json: components: has no {component!r}, which task {manifest.task} needs")
    described, path = manifest.components[component], variant.graph_path(component)
    model = bytes(bundle.read(path))
    tensors = () if like else _external_tensors(manifest, variant, model)
    # Not at the top: importing this module stays cheap for programs that only read a bundle.
    import onnxruntime as ort

    if provider not in ort.get_available_providers():
        raise HostError(
            f"variant {variant.name!r} runs on {provider}, which this onnxruntime does not have",
            hint=f"it has {', '.join(ort.get_available_providers())}; {provider} needs {PROVIDERS[provider].install}",
        )
    try:
        options = _options(variant, threads=threads, spin=spin)
        # ONNX Runtime keeps a plan of its memory for every shape it has seen, and a decoder's is new at every token.
        # DirectML does not work with such plans.
        options.enable_mem_pattern = component != "decode" and provider != "DmlExecutionProvider"
        if provider != CPU or optimized:
            options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
        if optimized:
            options.optimized_model_filepath = str(optimized)
        values = (
            like.weights if like else read_weights(bundle, variant.folder, tensors, {} if weights is None else weights)
        )
        hand_over(options, values)
        session = ort.InferenceSession(
            model,
            options,
            providers=[(name, dict(options_of(name, variant.precision))) for name in (provider, *beside(provider))],
        )
    except EdgekitError:
        raise
    except Exception as error:
        raise _load_error(error, path, ort.__version__) from error
    if session.get_providers()[0] != provider:
        raise HostError(
            f"variant {variant.name!r}: asked for {provider}, got {session.get_providers()[0]}",
            hint=f"{provider} needs {PROVIDERS[provider].install}; or name one of the bundle's variants for the CPU",
        )
    if provider != CPU:
        _check_placement(session, variant, provider)
    _check_graph("inputs", described.inputs, session.get_inputs(), path)
    _check_graph("outputs", described.outputs, session.get_outputs(), path)
    return Session(session, described.inputs, described.outputs, values)


def beside(provider: str) -> tuple[str, ...]:
    """The providers of the same device that take what this one does not take."""
    return PROVIDERS[provider].beside


def this_host() -> host.Host:
    """This machine: its CPU, and the execution providers that the installed onnxruntime was built with.

    A provider may still lack its driver or its device; opening a session then says so.
    """
    import onnxruntime as ort

    return dataclasses.replace(host.detect_host(), providers=frozenset(ort.get_available_providers()))


def onnxruntime_version() -> str:
    """The version of the installed onnxruntime."""
    import onnxruntime as ort

    return str(ort.__version__)


def _provider(manifest: Manifest, variant: Variant) -> str:
    providers = {manifest.targets[target].execution_provider for target in variant.targets}
    if len(providers) != 1:
        raise IntegrityError(f"edgekit.json: variant {variant.name!r}: its targets name {len(providers)} providers")
    return providers.pop()


def _external_tensors(manifest: Manifest, variant: Variant, model: bytes) -> tuple[ExternalTensor, ...]:
    sizes = {
        posixpath.basename(entry.path): entry.size
        for entry in manifest.files
        if posixpath.dirname(entry.path) == variant.folder
    }
    return external_tensors(model, sizes)


def _check_placement(session: onnxruntime.InferenceSession, variant: Variant, provider: str) -> None:
    """Refuse a session whose products run on the CPU: ONNX Runtime moves there, silently, what a provider lacks."""
    if not hasattr(session, "get_provider_graph_assignment_info"):
        raise HostError(
            f"variant {variant.name!r}: this onnxruntime cannot tell what {provider} leaves to the CPU",
            hint="pip install --upgrade the onnxruntime package that is installed",
        )
    left = products_on_cpu(session)
    if left:
        shown = ", ".join(left[:5]) + (f" and {len(left) - 5} more" if len(left) > 5 else "")
        raise HostError(
            f"variant {variant.name!r}: {provider} would leave {len(left)} products to the CPU: {shown}",
            hint="this version of the provider lacks their kernels: try another variant, or another onnxruntime",
        )


def products_on_cpu(session: onnxruntime.InferenceSession) -> list[str]:
    """Names of the products and attentions that ONNX Runtime placed on the CPU.

    Args:
        session: Made with ``session.record_ep_graph_assignment_info``.
    """
    return [
        node.name or node.op_type
        for placed in session.get_provider_graph_assignment_info()
        if placed.ep_name == CPU
        for node in placed.get_nodes()
        if node.op_type in _HEAVY
    ]


def _options(variant: Variant, *, threads: int, spin: bool) -> onnxruntime.SessionOptions:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERROR_LOG
    for key, value in variant.session_options.items():
        if key not in SESSION_OPTIONS:
            raise HostError(
                f"variant {variant.name!r}: session option {key!r} is not one this edgekit lets a bundle set",
                hint="a newer edgekit may know it: pip install --upgrade edgekit",
            )
        options.add_session_config_entry(key, value)
    # Between two operators a thread that waits for the next one spins: to wake it takes longer than most operators do.
    options.add_session_config_entry("session.intra_op.allow_spinning", "1")
    options.add_session_config_entry("session.force_spinning_stop", "0" if spin else "1")
    options.add_session_config_entry("session.load_model_format", "ONNX")  # no guessing from the bytes
    return options


def _check_graph(what: str, expected: tuple[Tensor, ...], found: list[Any], path: str) -> None:
    named = {node.name: _dtype_name(node.type) for node in found}
    listed = {tensor.name: tensor.dtype for tensor in expected}
    if named != listed:
        raise IntegrityError(
            f"{path}: its {what} are {named}, edgekit.json lists {listed}",
            hint="the graph and the manifest are not of one bundle; get it again",
        )


def _dtype_name(ort_type: str) -> str:
    inner = ort_type.removeprefix("tensor(").removesuffix(")")
    return _ORT_TYPES.get(inner, inner)


def _check_feeds(inputs: tuple[Tensor, ...], feeds: Mapping[str, npt.NDArray[Any]]) -> None:
    names = {tensor.name for tensor in inputs}
    if set(feeds) != names:
        raise InputError(f"expected the inputs {', '.join(sorted(names))}, got {', '.join(sorted(feeds)) or 'none'}")
    free: dict[str, int] = {}
    for tensor in inputs:
        array = feeds[tensor.name]
        if not isinstance(array, np.ndarray) or array.dtype != np.dtype(tensor.dtype):
            kind = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
            raise InputError(f"input {tensor.name}: expected an array of {tensor.dtype}, got {kind}")
        if array.ndim != len(tensor.shape):
            raise InputError(f"input {tensor.name}: expected {len(tensor.shape)} dimensions, got {array.ndim}")
        for size, dimension in zip(array.shape, tensor.shape, strict=True):
            wanted = free.setdefault(dimension, size) if isinstance(dimension, str) else dimension
            if size != wanted or size == 0:
                raise InputError(f"input {tensor.name}: shape {array.shape} does not fit {tensor.shape}")


def _load_error(error: Exception, path: str, version: str) -> EdgekitError:
    reason = _reason(error)
    if type(error).__name__ in ("InvalidArgument", "InvalidProtobuf", "NoModel"):
        return IntegrityError(f"{path}: not an ONNX model: {reason}", hint="get the bundle again")
    return HostError(
        f"{path}: onnxruntime {version} cannot open it here: {reason}",
        hint="try another variant, or the onnxruntime the bundle was judged with (`edgekit inspect` names it)",
    )


def _run_error(error: Exception) -> EdgekitError:
    # The feeds fit what the graph declares. What a node says of an argument is the caller's matter where that node
    # looks ids up, and otherwise the graph's: one may ask for a tensor of any size.
    node = _NODE.search(str(error))
    if type(error).__name__ == "InvalidArgument" and (node is None or node[1].startswith(_LOOKUPS)):
        return InputError(f"onnxruntime refused the input: {_reason(error)}")
    return HostError(
        f"onnxruntime failed while running: {_reason(error) or type(error).__name__}",
        hint="shorter inputs and smaller batches need less memory; `edgekit verify` tells whether it ever runs here",
    )


def _reason(error: Exception) -> str:
    # ONNX Runtime puts its name, a number and the number's name before what happened.
    text = " ".join(str(error).split())
    return text.split(" : ", 3)[-1][:400] if text.startswith("[ONNXRuntimeError]") else text[:400]
