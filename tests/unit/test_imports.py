"""DESIGN.md's table of who may import whom, read from the imports themselves."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import edgekit

ROOT = Path(edgekit.__file__).parent

# Each part with the parts it may import.
PARTS = {
    "errors": set(),
    "spec": {"errors"},
    "catalog": {"errors", "spec"},
    "bundle": {"errors", "spec"},
    "runtime": {"errors", "spec", "bundle"},
    "stages": {"errors", "spec", "bundle", "runtime", "catalog"},
    "registry": {"errors", "spec", "bundle"},
    "serve": {"errors", "spec", "bundle", "runtime"},
    "containers": {"errors", "spec", "bundle"},
    "portability": {"errors", "spec", "bundle", "runtime", "catalog"},
    "checks": {"errors", "spec", "bundle", "runtime", "catalog", "stages", "portability"},
    "report": {"errors", "spec", "bundle", "runtime", "checks"},
    "demo": {"errors", "spec", "bundle", "runtime"},
    "pipeline": {"errors", "spec", "bundle", "runtime", "catalog", "stages", "portability"},
    "matrix": {"errors", "spec", "bundle", "runtime", "catalog", "stages", "portability", "pipeline"},
    "tracking": {"errors", "spec", "bundle"},
    "cli": {
        "errors",
        "spec",
        "bundle",
        "runtime",
        "catalog",
        "stages",
        "portability",
        "checks",
        "report",
        "demo",
        "pipeline",
        "registry",
        "serve",
        "containers",
        "matrix",
        "tracking",
    },
}
BUILD = {
    "PIL", "huggingface_hub", "model_signing", "numpy", "onnx", "onnx_ir", "onnxruntime", "onnxscript", "optimum",
    "safetensors", "sentence_transformers", "tokenizers", "torch", "transformers",
}  # fmt: skip
THIRD_PARTY = {
    "errors": set(),
    "spec": set(),
    "catalog": set(),
    "bundle": {"cryptography"},  # where it signs or judges signatures, and not before
    "runtime": {"PIL", "jinja2", "numpy", "onnxruntime", "tokenizers"},  # PIL and jinja2 where asked for, not before
    "stages": BUILD,
    "registry": {"httpx2", "huggingface_hub"},
    "containers": {"packaging"},
    "serve": {"PIL", "prometheus_client", "pydantic", "pydantic_core", "starlette", "typing_extensions", "uvicorn"},
    "portability": {"numpy", "onnx", "onnxruntime"},
    "checks": {"numpy"},
    "report": {"jinja2", "markupsafe", "pygal"},
    "demo": {"gradio", "numpy", "starlette"},
    "pipeline": set(),
    "matrix": {"numpy", "optimum", "ray", "sentence_transformers", "torch", "transformers"},
    "tracking": {"mlflow", "requests"},
    "cli": {"numpy", "rich", "typer"},
}
# Templates are what others run: tests/containers has theirs.
FILES = sorted(path for path in ROOT.rglob("*.py") if not {"_records", "templates"} & set(path.parts))


def part_of(path):
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(source):
    """(third-party or standard module, None) or ("edgekit", part) for every import in the source."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            within = node.module == "edgekit"
            names = [f"edgekit.{alias.name}" for alias in node.names] if within else [node.module]
        else:
            continue
        for name in names:
            top, _, rest = name.partition(".")
            yield top, rest.partition(".")[0] if top == "edgekit" else None


def violations(part, source):
    for top, inner in imports(source):
        if top == "edgekit":
            if inner not in {part, "", "__version__"} | PARTS[part]:
                yield f"{part} imports edgekit.{inner}"
        elif top not in sys.stdlib_module_names | THIRD_PARTY[part]:
            yield f"{part} imports {top}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_one_way(path):
    part = part_of(path)
    if part == "__init__":
        assert not list(imports(path.read_text(encoding="utf-8")))
    elif part != "__main__":
        assert not list(violations(part, path.read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    ("part", "source"),
    [
        ("errors", "import edgekit.spec"),
        ("spec", "from edgekit.bundle import reading"),
        ("bundle", "from edgekit import runtime"),
        ("bundle", "import numpy as np"),
        ("runtime", "def f():\n    import torch"),
        ("runtime", "from onnx import helper"),
        ("runtime", "from edgekit.stages.export import export"),
        ("stages", "import typer"),
        ("stages", "from edgekit import pipeline"),
        ("pipeline", "from edgekit.cli import main"),
        ("pipeline", "from edgekit.checks import statistics"),
        ("checks", "from edgekit import pipeline"),
        ("catalog", "import edgekit.runtime.host"),
        ("registry", "from edgekit.runtime import load"),
        ("serve", "import torch"),
        ("serve", "from edgekit.stages.fetch import fetch"),
        ("runtime", "from edgekit.serve.lane import Lane"),
    ],
)
def test_a_wrong_import_is_found(part, source):
    assert list(violations(part, source))


def test_opening_the_runtime_loads_nothing_heavy():
    heavy = [
        "PIL",
        "asyncio",
        "cryptography",
        "httpx2",
        "huggingface_hub",
        "jinja2",
        "onnx",
        "onnxruntime",
        "tokenizers",
        "torch",
        "transformers",
        "typer",
    ]
    script = f"import sys, edgekit.runtime; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT.parent)
    assert done.stdout == "[]\n"


def test_using_the_runtime_loads_no_build_side(tmp_path):
    from .tiny_model import write_tiny_model

    write_tiny_model(tmp_path / "bundle")
    heavy = [
        "PIL",
        "cryptography",
        "httpx2",
        "huggingface_hub",
        "jinja2",
        "onnx",
        "optimum",
        "rich",
        "torch",
        "transformers",
        "typer",
    ]
    script = (
        "import sys; from edgekit.runtime import load; model = load(sys.argv[1]); model.embed('word1'); "
        f"assert model.self_test().passed; print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "bundle"], capture_output=True, text=True, check=True, cwd=ROOT.parent
    )
    assert done.stdout == "[]\n"


def test_a_bundle_of_one_task_loads_the_code_of_no_other(tmp_path):
    from .tiny_model import write_tiny_model

    write_tiny_model(tmp_path / "bundle")
    script = (
        "import sys, edgekit.runtime as runtime; from edgekit.runtime.tasks import CLASSES; "
        "homes = {'edgekit.runtime.' + home.split(':')[0] for home in CLASSES.values()}; assert len(homes) > 9; "
        "seen = lambda: sorted(name for name in sys.modules if name in homes or '.settings.' in name); print(seen()); "
        "runtime.load(sys.argv[1]).embed('word1'); print(*seen())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "bundle"], capture_output=True, text=True, check=True, cwd=ROOT.parent
    )
    settings = [f"edgekit.spec.settings.{name}" for name in ("embedding", "section", "text")]
    assert done.stdout.split() == ["[]", "edgekit.runtime.embedding", *settings]


def test_the_public_surface_of_the_runtime():
    import edgekit.runtime

    assert sorted(edgekit.runtime.__all__) == [
        "Embedder",
        "Generator",
        "Host",
        "Model",
        "SelfTest",
        "Seq2Seq",
        "TextClassifier",
        "detect_host",
        "load",
        "pipeline",
    ]
    assert all(hasattr(edgekit.runtime, name) for name in edgekit.runtime.__all__)
