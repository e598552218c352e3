"""What is judged here for a provider that is not here: never a pass, and a fault is a fault."""

import numpy as np
import onnx_ir as ir
import pytest
from onnxruntime import InferenceSession, SessionOptions

from edgekit.bundle.reading import Bundle
from edgekit.errors import HostError
from edgekit.runtime.loading import open_variant
from edgekit.runtime.session import open_session, products_on_cpu
from edgekit.spec.parity import Parity
from edgekit.spec.target import Target
from edgekit.stages import component_files
from edgekit.stages.elsewhere import stand_in, unproven

from .masked_graph import feeds, masked_graph, run
from .test_half import found, halved
from .tiny_model import GOLDEN_TEXTS, plain_variant, write_tiny_model

PROVIDER = "CUDAExecutionProvider"
CUDA = Target("cuda", "for tests", "any", (), PROVIDER, 110)


@pytest.mark.parametrize(
    ("verdict", "becomes", "says"),
    [
        (
            "pass",
            "unproven",
            "CUDAExecutionProvider is not on this machine: answers were compared on CPUExecutionProvider",
        ),
        ("unproven", "unproven", "too few; CUDAExecutionProvider is not on this machine"),
        ("fail", "fail", "too few"),
    ],
)
def test_no_verdict_from_elsewhere_is_a_pass(verdict, becomes, says):
    parity = unproven(Parity(verdict, "too few", ()), PROVIDER)
    assert parity.verdict == becomes
    assert says in parity.reason


def test_a_file_without_float16_is_judged_as_it_is(tmp_path):
    component_files.save({"model": masked_graph()}, tmp_path / "fp32")
    variant = plain_variant()
    assert stand_in(variant, tmp_path / "fp32", tmp_path / "judged") == (variant, tmp_path / "fp32")
    assert not (tmp_path / "judged").exists()


def test_the_stand_in_rounds_what_the_file_rounds_and_nothing_else(tmp_path):
    halved(tmp_path, found(masked_graph(), tmp_path))
    variant, folder = stand_in(plain_variant(session_options={}), tmp_path / "fp16", tmp_path / "judged")
    options = {key.replace(".", "__"): value for key, value in variant.session_options.items()}
    answer = run(component_files.load_one(folder, "model"), feeds(), **options)
    exact = run(masked_graph(), feeds())
    plain = run(component_files.load_one(tmp_path / "fp16", "model"), feeds())
    assert np.abs(answer - exact).max() > np.abs(plain - exact).max() > 0
    kinds = [node.op_type for node in component_files.load_one(folder, "model").graph if node.op_type != "Identity"]
    assert kinds == [node.op_type for node in component_files.load_one(tmp_path / "fp16", "model").graph]


def cuda_bundle(folder):
    variant = plain_variant(name="fp16-cuda", targets=("cuda",), runs_anywhere=False)
    write_tiny_model(folder, targets={"cuda": CUDA}, variants=(variant,))
    return Bundle.open(folder), variant


def test_the_build_side_may_open_a_variant_on_the_cpu_and_a_device_may_not(tmp_path):
    bundle, variant = cuda_bundle(tmp_path / "bundle")
    with open_variant(bundle, variant, provider="CPUExecutionProvider") as model:
        assert model.self_test().cases == len(GOLDEN_TEXTS)
    with pytest.raises(HostError, match="which this onnxruntime does not have") as caught:
        open_session(bundle, variant, threads=1)
    assert "pip install onnxruntime-gpu" in caught.value.hint


def test_products_that_were_left_to_the_cpu_are_seen():
    options = SessionOptions()
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    model = ir.to_proto(masked_graph()).SerializeToString()
    session = InferenceSession(model, options, providers=["CPUExecutionProvider"])
    assert len(products_on_cpu(session)) == 2


def test_a_gpu_target_survives_the_manifest(tmp_path):
    bundle, _ = cuda_bundle(tmp_path / "bundle")
    assert bundle.manifest.targets == {"cuda": CUDA}
    assert CUDA.missing_on("x86_64", frozenset()) == (PROVIDER,)
    assert CUDA.missing_on("riscv64", frozenset(), frozenset({PROVIDER})) == ()
