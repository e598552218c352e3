"""The real MiniLM for targets whose execution provider is not here: what can be shown is shown, and nothing passes."""

import dataclasses
import json

import onnx_ir as ir
import pytest

from edgekit import catalog, pipeline
from edgekit.bundle.reading import Bundle
from edgekit.cli import main
from edgekit.errors import HostError, InconclusiveError, ParityError
from edgekit.runtime import load
from edgekit.spec.parity import BUDGETS
from edgekit.spec.progress import Silent
from edgekit.stages import component_files, ladder, recipes
from edgekit.stages.bench import Bench
from edgekit.stages.half import to_half
from edgekit.stages.start import Start

from .real_build import few

pytestmark = pytest.mark.export

CALIBRATED = 16
DOUBT = "CUDAExecutionProvider is not on this machine: answers were compared on CPUExecutionProvider"


@pytest.fixture(autouse=True)
def exported(minilm, monkeypatch):
    """The export that the session has already made, judged on few texts."""

    def prepare(request, targets, dataset, folder, progress):
        answers = few(minilm.contents.answers)
        (folder / "work").mkdir()
        return Bench(
            contents=dataclasses.replace(minilm.contents, answers=answers, targets=targets),
            setting=dataclasses.replace(
                minilm.setting, answers=answers, targets=targets, allow_unproven=request.allow_unproven
            ),
            starts={
                target.execution_provider: Start(
                    minilm.fp32, {"model": minilm.batches[:CALIBRATED]}, target.execution_provider
                )
                for target in targets.values()
            },
            folder=folder,
            budgets=BUDGETS["vectors"],
        )

    monkeypatch.setattr(pipeline, "prepare", prepare)


def build(output, *targets, **options):
    return pipeline.build(pipeline.BuildRequest("minilm", targets, output, **options), Silent())


def test_a_cuda_variant_is_unproven_and_ships_only_when_asked_for(tmp_path, capsys):
    output = tmp_path / "bundle"
    assert main(["export", "minilm", "-t", "cuda", "-o", str(output)]) == InconclusiveError.exit_code == 9
    assert DOUBT in capsys.readouterr().err
    assert not output.exists()
    evidence = json.loads((tmp_path / "bundle.evidence/parity.json").read_bytes())
    (tried,) = evidence["tried"]
    assert (tried["recipe"], tried["verdict"], tried["reason"]) == ("fp16", "unproven", DOUBT)
    assert all(check["passed"] for check in tried["checks"])
    assert main(["export", "minilm", "-t", "cuda", "-o", str(output), "--allow-unproven"]) == 0
    manifest = Bundle.open(output).manifest
    (variant,) = manifest.variants
    assert (variant.name, variant.precision, variant.parity) == ("fp16-cuda", "float16", "unproven")
    assert not variant.runs_anywhere
    assert variant.self_test_min > 0.99
    assert {tensor.dtype for tensor in manifest.components["model"].outputs} == {"float32"}
    assert f"**Unproven**: {DOUBT}." in (output / "MODEL_CARD.md").read_text("utf-8")
    assert "The judging machine is none of cuda" in (output / "MODEL_CARD.md").read_text("utf-8")
    shipped = json.loads((output / "evidence/parity.json").read_bytes())["variants"][0]
    assert shipped["targets"] == [{"name": "cuda", "runs_here": False}]
    assert shipped["overflow"]["model"]["inputs"] == CALIBRATED
    assert 1 < shipped["overflow"]["model"]["largest"]["magnitude"] < 32752
    assert main(["verify", str(output)]) == HostError.exit_code == 8
    assert "pip install onnxruntime-gpu" in capsys.readouterr().err
    with pytest.raises(HostError, match="cuda needs CUDAExecutionProvider"):
        load(output)


def test_a_cpu_beside_the_gpu_gets_its_own_variant(tmp_path):
    result = build(tmp_path / "bundle", "cuda", "x86_64-avx2", "arm64-neon", recipe="fp32", allow_unproven=True)
    assert [variant.parity for variant in result.manifest.variants] == ["unproven", "pass"]
    with load(tmp_path / "bundle") as model:
        assert model.variant.targets == ("x86_64-avx2", "arm64-neon")
        assert model.self_test().passed


def test_tensorrt_gets_static_int8_that_keeps_its_budget(tmp_path):
    result = build(tmp_path / "bundle", "tensorrt", allow_unproven=True)
    (variant,) = result.manifest.variants
    assert variant.parity == "unproven"
    tried = [trial["recipe"] for trial in result.evidence["tried"]]
    assert [*tried, variant.recipe] == [recipe.name for recipe in ladder.STATIC_LADDER][: len(tried) + 1]
    assert all(trial["verdict"] == "fail" for trial in result.evidence["tried"])


def test_a_variant_that_fails_here_fails_although_it_is_for_elsewhere(tmp_path, monkeypatch):
    def spoiled(model, overflow):
        counts = to_half(model, overflow)
        for value in model.graph.initializers.values():
            if value.name.endswith("LayerNorm.bias.half"):
                value.const_value = component_files.ir.tensor(value.const_value.numpy() + 1, name=value.name)
        return counts

    monkeypatch.setattr(recipes, "to_half", spoiled)
    with pytest.raises(ParityError, match="changed constants"):
        build(tmp_path / "bundle", "cuda", recipe="fp16", allow_unproven=True)


def unopenable(model, overflow):
    """Conversion that forgets a cast: a value is declared float32 that float16 operands make float16."""
    counts = to_half(model, overflow)
    half = next(value for node in model.graph for value in node.outputs if value.dtype == ir.DataType.FLOAT16)
    half.type = ir.TensorType(ir.DataType.FLOAT)
    return counts


def test_a_file_that_does_not_open_is_left_with_its_reason_and_the_next_recipe_ships(tmp_path, monkeypatch):
    monkeypatch.setattr(recipes, "to_half", unopenable)
    result = build(tmp_path / "bundle", "cuda", allow_unproven=True)
    assert [variant.recipe for variant in result.manifest.variants] == ["fp32"]
    (tried,) = result.evidence["tried"]
    assert (tried["recipe"], tried["verdict"], tried["checks"]) == ("fp16", "fail", [])
    assert "onnxruntime" in tried["reason"]
    assert "Type Error" in tried["reason"]


def test_where_the_only_recipe_does_not_open_the_host_is_what_failed(tmp_path, monkeypatch):
    monkeypatch.setattr(recipes, "to_half", unopenable)
    with pytest.raises(HostError, match=r"the last, fp16, does not run here: .*Type Error") as caught:
        build(tmp_path / "bundle", "cuda", recipe="fp16", allow_unproven=True)
    evidence = json.loads((tmp_path / "bundle.evidence/parity.json").read_bytes())
    assert evidence["tried"][0]["reason"] in caught.value.message
    assert not (tmp_path / "bundle").exists()


@pytest.mark.long
def test_every_gpu_target_says_what_it_runs_on(tmp_path):
    names = [name for name, target in catalog.targets().items() if not target.on_cpu]
    result = build(tmp_path / "bundle", *names, recipe="fp16", allow_unproven=True)
    assert {variant.name for variant in result.manifest.variants} == {f"fp16-{name}" for name in names}
    package = json.loads((tmp_path / "bundle/manifest.json").read_bytes())
    declared = {name: variant["ep"] for name, variant in package["components"]["model"]["variants"].items()}
    assert declared == {f"fp16-{name}": catalog.target(name).execution_provider for name in names}
