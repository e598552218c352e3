"""The bundle folder is a model package that the real ONNX Runtime opens, selects from and runs."""

import dataclasses
import json

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from edgekit.bundle.package import ort_package, shared_asset_folder, variant_folder
from edgekit.bundle.writing import write_manifests
from edgekit.errors import ExportError

from .tiny_bundle import TOKENIZER, fill, tiny_manifest, tiny_target, tiny_variant


def adding(number):
    """The bytes of a graph y = x + number."""
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "c"], ["y"])],
        "adding",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
        [helper.make_tensor("c", TensorProto.FLOAT, [1], [number])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def write_package(folder, variants, **changes):
    """A bundle whose n-th variant adds n + 1."""
    content = {f"{variant.folder}/model.onnx": adding(float(n + 1)) for n, variant in enumerate(variants)}
    content["golden/cases.json"] = b"{}"
    content[f"{shared_asset_folder(TOKENIZER)}/tokenizer.json"] = TOKENIZER["tokenizer.json"]
    fill(folder, content)
    return write_manifests(folder, dataclasses.replace(tiny_manifest(variants), **changes))


def run_package(folder):
    """The name of the variant ONNX Runtime selects, and what it answers to 0."""
    context = onnxruntime.ModelPackageContext(str(folder))
    options = onnxruntime.ModelPackageOptions(onnxruntime.SessionOptions())
    component = context.select_component("model", options)
    (answer,) = component.create_session().run(None, {"x": np.zeros(1, np.float32)})
    return component.get_selected_variant_name(), float(answer[0])


@pytest.mark.parametrize(
    ("runs_anywhere", "selected"),
    [
        ({"m": False, "z": True, "a": True}, ("z", 2.0)),  # neither the first nor the least name
        ({"z": True, "a": False}, ("z", 1.0)),
        ({"a": False, "z": True}, ("z", 2.0)),
        ({"z": False, "a": False}, ("z", 1.0)),  # none is safe: the order of preference
    ],
)
def test_onnxruntime_opens_the_package_and_runs_the_variant_that_is_safe_everywhere(tmp_path, runs_anywhere, selected):
    variants = tuple(tiny_variant(name, runs_anywhere=safe) for name, safe in runs_anywhere.items())
    write_package(tmp_path, variants)
    assert run_package(tmp_path) == selected


def test_onnxruntime_reads_every_field_back(tmp_path):
    manifest = write_package(tmp_path, (tiny_variant("fast", runs_anywhere=False), tiny_variant("safe")))
    package = onnxruntime.ModelPackage.open(str(tmp_path), strict_unknown_fields=True)
    info = package.get_info()
    assert (info["package_name"], info["package_version"]) == ("tiny", "1.0.0")
    assert json.loads(info["additional_metadata_json"]) == {
        "edgekit": {"manifest": "edgekit.json", "task": "feature-extraction"}
    }
    (component,) = info["components"]
    assert component["name"] == "model"
    assert {variant["name"] for variant in component["variants"]} == {"fast", "safe"}
    for variant in component["variants"]:
        assert variant["ep"] == "CPUExecutionProvider"
        assert variant["device"] == "cpu"
        assert variant["variant_directory"] == str(tmp_path / variant_folder(variant["name"]))
        assert json.loads(variant["executor_info"]["ort"]) == {
            "model_file": "model.onnx",
            "session_options": {"session.intra_op.allow_spinning": "0"},
        }
        edgekit = json.loads(variant["executor_info"]["edgekit"])
        assert edgekit["recipe"] == "int8-dynamic"
        assert [package.resolve_string_ref(asset, must_exist=True) for asset in edgekit["assets"]] == [
            str(tmp_path / manifest.settings["text"].tokenizer)
        ]
    package.close()


def gpu_target(provider):
    return dataclasses.replace(tiny_target("gpu", "any", ()), execution_provider=provider)


@pytest.mark.parametrize(
    ("provider", "precision", "device", "options"),
    [
        ("CUDAExecutionProvider", "float16", "gpu", None),
        ("CUDAExecutionProvider", "float32", "gpu", {"use_tf32": "0"}),
        ("TensorrtExecutionProvider", "int8", "gpu", None),
        ("DmlExecutionProvider", "float16", "gpu", None),
        ("CoreMLExecutionProvider", "float16", "", {"ModelFormat": "MLProgram"}),
    ],
)
def test_onnxruntime_reads_a_gpu_variant_and_passes_it_by_on_a_cpu(tmp_path, provider, precision, device, options):
    gpu = dataclasses.replace(tiny_variant("first", runs_anywhere=False, targets=("gpu",)), precision=precision)
    targets = {**tiny_manifest().targets, "gpu": gpu_target(provider)}
    write_package(tmp_path, (gpu, tiny_variant("second")), targets=targets)
    assert run_package(tmp_path) == ("second", 2.0)
    package = onnxruntime.ModelPackage.open(str(tmp_path), strict_unknown_fields=True)
    (variant,) = [found for found in package.get_info()["components"][0]["variants"] if found["name"] == "first"]
    assert (variant["ep"], variant["device"] or "") == (provider, device)
    assert json.loads(variant["executor_info"]["ort"]).get("provider_options") == options
    package.close()


def test_the_bytes_are_deterministic_and_independent_of_files():
    manifest = tiny_manifest()
    assert ort_package(manifest) == ort_package(dataclasses.replace(manifest, files=()))
    assert ort_package(manifest).endswith(b"}\n")


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"tokenizer.json": b"{}"},
        {
            "a.txt": b"1",
            "a/b.txt": b"2",
            "a-b": b"3",
            "B": b"4",
            "é.x": b"5",
            "a/c/d": b"",
            "\uffee": b"6",
            "\U00010400": b"7",
        },
    ],
)
def test_the_shared_asset_folder_is_named_as_onnxruntime_names_it(tmp_path, files):
    fill(tmp_path, files)
    uri = onnxruntime.ModelPackage.compute_directory_hash(str(tmp_path))
    assert shared_asset_folder(files) == "shared_assets/" + uri.replace(":", "-")


def test_a_variant_for_no_target_or_several_providers_is_refused():
    with pytest.raises(ExportError, match="variant alone: serves the execution providers of no target"):
        ort_package(tiny_manifest((tiny_variant("alone", targets=()),)))
    other = dataclasses.replace(tiny_target("gpu", "x86_64", ()), execution_provider="CUDAExecutionProvider")
    manifest = tiny_manifest((tiny_variant("both", targets=("arm64-neon", "gpu")),))
    manifest = dataclasses.replace(manifest, targets={**manifest.targets, "gpu": other})
    with pytest.raises(ExportError, match=r"variant both: serves .* CPUExecutionProvider, CUDAExecutionProvider"):
        ort_package(manifest)
