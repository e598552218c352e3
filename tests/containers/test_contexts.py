"""What is written for an image: read back by a parser of Dockerfiles, and by what a careful reader looks for."""

import json
import re
import shutil
from pathlib import PurePosixPath

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from dockerfile_parse import DockerfileParser

from edgekit.bundle.reading import Bundle
from edgekit.cli import main
from edgekit.containers.context import KINDS, Recipe, requirements
from edgekit.containers.cuts import cut

# ruff: noqa: TID252 - tests are no installed package
from ..unit.test_vision import write_classifier
from ..unit.tiny_generator import write_generator
from .root import stages


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_holds_runtime_and_bundle_and_runs_as_nobody(context, kind):
    folder = context(kind)
    build, last = stages(folder)
    text = (folder / "Dockerfile").read_text("utf-8")
    images = DockerfileParser(str(folder), cache_content=True).parent_images
    assert len(images) == 2
    assert len(set(images)) == 1
    assert re.fullmatch(r"python:\d+\.\d+-slim-\w+", images[0])  # a tag that says what it is, and not latest
    named = [step["instruction"] for step in last]
    assert "RUN" not in named  # what was needed to build is not in it
    assert "ADD" not in named
    assert set(named) <= {
        "LABEL",
        "ENV",
        "COPY",
        "USER",
        "EXPOSE",
        "STOPSIGNAL",
        "HEALTHCHECK",
        "WORKDIR",
        "ENTRYPOINT",
        "CMD",
    }
    copied = [step["value"] for step in last if step["instruction"] == "COPY"]
    assert copied[:2] == ["--from=build /opt/edgekit /opt/edgekit", "--from=build /srv /srv"]
    assert copied[2:] == (["handler.py /srv/handler.py"] if kind == "aws-lambda" else [])
    (user,) = [step["value"] for step in last if step["instruction"] == "USER"]
    assert user == "10001:10001"
    assert named.index("USER") < named.index("ENTRYPOINT")
    assert ("HEALTHCHECK" in named) == (kind in ("server", "demo"))
    (entrypoint,) = [step["value"] for step in last if step["instruction"] == "ENTRYPOINT"]
    assert all(isinstance(word, str) for word in json.loads(entrypoint))  # a list: signals reach the process itself
    assert not re.search("@[A-Z]+@", text)  # nothing was left to fill in
    for step in build:
        if step["instruction"] == "COPY":
            assert (folder / step["value"].split()[0]).exists()


@pytest.mark.parametrize("kind", KINDS)
def test_the_context_is_the_bundle_and_what_installs_it(context, bundle, kind):
    folder = context(kind)
    copy = Bundle.open(folder / "srv/bundle")
    copy.verify()
    assert copy.manifest_sha256 == Bundle.open(bundle).manifest_sha256
    others = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    others = {path for path in others if not path.startswith("srv/bundle/")}
    handler = {"handler.py"} if kind == "aws-lambda" else set()
    assert others == {"Dockerfile", ".dockerignore", "packages/requirements.txt"} | handler
    assert not [path for path in folder.rglob("*") if path.stat().st_mode & 0o022]
    assert all(path.stat().st_mode & 0o004 for path in folder.rglob("*"))


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_removed_has_its_reason_beside_it_and_is_not_weighed(context, kind):
    text = (context(kind) / "Dockerfile").read_text("utf-8")
    for one in Recipe(kind).cuts:
        (place,) = [found.start() for found in re.finditer(re.escape(f"# {one.reason}\n"), text)]
        removing = text[place:].splitlines()[1]
        assert re.search(r" -delete$|-exec rm -rf {} \+$| && rm -rf ", removing)
    assert ("gradio/templates" in text) == (kind == "demo")


@pytest.mark.parametrize(
    ("path", "gone"),
    [
        ("numpy/tests/data/x.csv", True), ("numpy/testing/__init__.py", False), ("tests.py", False),
        ("numpy/__init__.pyi", True), ("numpy/_core/_simd.cpython-311-x86_64-linux-gnu.so", True),
        ("onnxruntime/capi/libonnxruntime.so.1.32.0", True), ("onnxruntime/tools/pytorch_export_helpers.py", True),
        ("onnxruntime/capi/libonnxruntime_providers_shared.so", False), ("onnxruntime/tools.py", False),
        ("onnxruntime/capi/onnxruntime_pybind11_state.cpython-311-x86_64-linux-gnu.so", False),
        ("gradio/templates/frontend/assets/PlotlyPlot-D9Pvz5DK.js", False), ("gradio/blocks_events.pyi", False),
    ],
)  # fmt: skip
def test_cuts_hold_what_the_shells_patterns_mean(path, gone):
    assert cut(Recipe("server").cuts, PurePosixPath(path)) is gone
    assert cut(Recipe("demo").cuts, PurePosixPath(path)) is (gone or "Plotly" in path)


def test_the_same_bundle_gives_the_same_context(context, bundle, tmp_path):
    first = context("server")
    assert main(["dockerfile", str(bundle), "--for", "server", "-o", str(tmp_path / "again")]) == 0
    for path in first.rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (tmp_path / "again" / path.relative_to(first)).read_bytes()


def test_a_bundle_gets_the_extras_that_it_needs(bundle, tmp_path):
    def wanted(path, kind, **more):
        return requirements(Bundle.open(path), Recipe(kind, **more)).splitlines()

    chat = write_generator(tmp_path / "chat", chat_template="text/chat.jinja")
    image = write_classifier(tmp_path / "image")
    assert wanted(bundle, "device") == ["edgekit==0.1.0", "onnxruntime>=1.24,<2"]
    assert wanted(bundle, "server")[0] == "edgekit[serve]==0.1.0"
    assert wanted(chat, "cloud-run")[0] == "edgekit[chat,serve]==0.1.0"
    assert wanted(image, "demo")[0] == "edgekit[ui]==0.1.0"  # its own Pillow would not go with Gradio's
    assert wanted(chat, "demo")[0] == "edgekit[chat,ui]==0.1.0"
    assert wanted(image, "aws-lambda") == ["edgekit[image]==0.1.0", "onnxruntime>=1.24,<2", "awslambdaric>=3,<5"]


def test_the_base_can_be_pinned_by_its_digest(context):
    pinned = f"python:3.13-slim-bookworm@sha256:{'ab' * 32}"
    assert DockerfileParser(str(context("server", base=pinned))).parent_images == [pinned] * 2


def test_an_image_can_hold_its_bundle_to_trusted_keys(bundle, tmp_path):
    key = ec.generate_private_key(ec.SECP256R1())
    form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (tmp_path / "key.pem").write_bytes(key.private_bytes(serialization.Encoding.PEM, form, plain))
    public = serialization.PublicFormat.SubjectPublicKeyInfo
    (tmp_path / "trust").mkdir()
    (tmp_path / "trust/ours.pem").write_bytes(key.public_key().public_bytes(serialization.Encoding.PEM, public))
    (tmp_path / "trust/notes.txt").write_text("no key")
    mine, folder = shutil.copytree(bundle, tmp_path / "mine"), tmp_path / "context"
    arguments = ["dockerfile", str(mine), "--for", "server", "-o", str(folder), "--trust", str(tmp_path / "trust")]
    assert main(arguments) == 7  # nobody signed it
    assert not folder.exists()
    assert main(["sign", str(mine), "--key", str(tmp_path / "key.pem")]) == 0
    assert main(arguments) == 0
    assert [path.name for path in (folder / "srv/trust").iterdir()] == ["ours.pem"]
    assert (folder / "srv/bundle/model.sig").read_bytes() == (mine / "model.sig").read_bytes()
    assert "ENV EDGEKIT_TRUST=/srv/trust" in (folder / "Dockerfile").read_text("utf-8")
    assert "edgekit[serve,sign]" in (folder / "packages/requirements.txt").read_text("utf-8")
    (tmp_path / "trust/ours.pem").unlink()
    shutil.rmtree(folder)
    assert main(arguments) == 2  # a folder without a key
    assert not folder.exists()


def test_an_altered_bundle_leaves_nothing(bundle, tmp_path):
    altered = shutil.copytree(bundle, tmp_path / "altered")
    path = next(altered.rglob("tokenizer.json"))
    path.write_bytes(path.read_bytes()[:-1] + b" ")
    assert main(["dockerfile", str(altered), "--for", "server", "-o", str(tmp_path / "out")]) == 7
    assert sorted(one.name for one in tmp_path.iterdir()) == ["altered"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--for", "servr", "-o", "out"], 2),
        (["--for", "server"], 2),
        (["--for", "server", "-o", "out", "--base", "x\nRUN evil"], 2),
        (["--for", "server", "-o", "out", "--wheel", "edgekit.tar.gz"], 2),
        (["--for", "server", "-o", "out", "--wheel", "none.whl"], 3),
        (["--for", "server", "-o", "."], 3),
    ],
)
def test_what_cannot_be_written_is_an_exit_code(bundle, tmp_path, monkeypatch, arguments, code):
    monkeypatch.chdir(tmp_path)
    assert main(["dockerfile", str(bundle), *arguments]) == code
    assert list(tmp_path.iterdir()) == []


def test_a_service_image_for_pictures_is_estimated_under_350_mb_too(tmp_path, capsys):
    write_classifier(tmp_path / "image")
    assert main(["dockerfile", str(tmp_path / "image"), "--for", "cloud-run", "--estimate", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["estimate"]
    assert "pillow" in found["packages_mb"]
    assert found["without_bundle_mb"] < 350


def test_a_service_image_is_estimated_under_350_mb_without_its_bundle(bundle, capsys):
    assert main(["dockerfile", str(bundle), "--for", "server", "--estimate", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["estimate"]
    assert found["missing"] == []
    assert {"edgekit", "onnxruntime", "numpy", "tokenizers", "starlette", "uvicorn", "pydantic"} <= set(
        found["packages_mb"]
    )
    assert not {"torch", "transformers", "onnx", "pip", "pytest"} & set(found["packages_mb"])
    whole = found["base_mb"] + sum(found["packages_mb"].values()) + found["compiled_mb"]
    assert found["without_bundle_mb"] == pytest.approx(whole)
    assert found["without_bundle_mb"] < 350
    assert main(["dockerfile", str(bundle), "--for", "device", "--estimate", "--json"]) == 0
    device = json.loads(capsys.readouterr().out)["estimate"]
    assert device["without_bundle_mb"] < found["without_bundle_mb"]


def test_an_estimate_does_not_guess_what_it_cannot_know(bundle, capsys):
    arguments = ["dockerfile", str(bundle), "--for", "server", "--estimate", "--json"]
    assert main([*arguments, "--base", "registry.example/python:3.13"]) == 0
    found = json.loads(capsys.readouterr().out)["estimate"]
    assert (found["base_mb"], found["without_bundle_mb"]) == (None, None)
