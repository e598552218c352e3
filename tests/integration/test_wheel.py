"""What `pip install edgekit` puts on a machine: built here as a wheel, installed, and used from there."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    # Without isolation: it needs no network, and hatchling is in the dev extra.
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("installed")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(folder)]
    subprocess.run([*command, str(wheel)], check=True, capture_output=True, text=True, timeout=300)
    return folder


def python(installed: Path, *arguments: str) -> str:
    # The dependencies come from the environment of the tests; edgekit itself from the wheel.
    environment = os.environ | {"PYTHONPATH": str(installed), "PYTHONSAFEPATH": "1"}
    command = [sys.executable, *arguments]
    done = subprocess.run(
        command, check=False, cwd=installed, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_wheel_carries_the_records_of_the_checkout(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    records = [path for kind in ("models", "targets") for path in (ROOT / kind).rglob("*.toml")]
    assert len(records) >= 5
    for path in records:
        assert f"edgekit/_records/{path.relative_to(ROOT).as_posix()}" in names


def test_wheel_carries_the_type_marker_the_corpus_and_the_licence(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        corpus = archive.read("edgekit/stages/corpus/en-1.txt")
    assert "edgekit/py.typed" in names
    assert "edgekit/stages/corpus/paraphrases-1.tsv" in names
    assert "edgekit/containers/templates/build.dockerfile" in names
    assert "edgekit/containers/templates/handler.py" in names
    assert "edgekit/stages/corpus/LICENSE-PSF-2.0.txt" in names
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    assert corpus == (ROOT / "edgekit/stages/corpus/en-1.txt").read_bytes()


def test_wheel_carries_nothing_but_the_package(wheel):
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.split("/")[0] for name in archive.namelist()}
        inside = [name for name in archive.namelist() if "test" in name.split("/")[1]]
    assert {top for top in tops if not top.endswith(".dist-info")} == {"edgekit"}
    assert inside == []


def test_installed_package_lists_the_targets(installed):
    output = python(installed, "-m", "edgekit", "targets")
    for path in (ROOT / "targets").glob("*.toml"):
        assert path.stem in output


def test_installed_runtime_is_the_wheels_and_needs_no_build_side(installed):
    script = (
        "import sys, json, edgekit.runtime as runtime\n"
        "print(json.dumps({'file': runtime.__file__, 'load': callable(runtime.load), 'modules': sorted(sys.modules)}))"
    )
    facts = json.loads(python(installed, "-c", script))
    assert Path(facts["file"]).is_relative_to(installed)
    assert facts["load"]
    assert not {"torch", "transformers", "onnx", "optimum", "typer", "huggingface_hub"} & set(facts["modules"])


# The tests that read no file of the checkout: what holds there holds for what is installed.
DEVICE_TESTS = (
    "test_bundle", "test_catalog", "test_cli", "test_cli_device", "test_embedding", "test_released",
    "test_selection", "test_session", "test_text",
)  # fmt: skip


def test_device_tests_pass_on_the_installed_package(installed, tmp_path):
    (tmp_path / "conftest.py").write_text(
        "import edgekit, pathlib\n"
        f"assert pathlib.Path(edgekit.__file__).is_relative_to({str(installed)!r}), edgekit.__file__\n"
    )
    files = [str(ROOT / "tests" / "unit" / f"{name}.py") for name in DEVICE_TESTS]
    options = [
        "-q",
        "-p",
        "no:cacheprovider",
        "--confcutdir",
        str(tmp_path),
        "-p",
        "conftest",
        "-c",
        str(ROOT / "pyproject.toml"),
        "-o",
        "pythonpath=",  # which names the checkout
    ]
    environment = os.environ | {"PYTHONPATH": f"{installed}{os.pathsep}{tmp_path}", "PYTHONSAFEPATH": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *files],
        check=False, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert " passed" in done.stdout
