"""A bundle goes to the hub and comes back, against a server of the hub's API on loopback."""

import json
import os
import subprocess
import sys

import pytest

from edgekit.bundle.folder import list_files
from edgekit.errors import UsageError
from edgekit.registry.hub import HubReference

from ..unit.tiny_model import write_tiny_model  # noqa: TID252 - tests are no installed package
from .writable_hub import COMMIT, serve

TOKEN = "hf_notatokenofanybody"  # noqa: S105 - of the server in this file
CARD = b"---\nlicense: apache-2.0\n---\n# tiny\n"


@pytest.fixture
def here(tmp_path):
    write_tiny_model(tmp_path / "bundle", files={"MODEL_CARD.md": CARD})
    return tmp_path


def edgekit(here, hub, *arguments, token=TOKEN):
    # huggingface_hub reads its settings when imported, so each command has a process of its own.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
    environment |= {"HF_ENDPOINT": hub.url, "HF_HOME": str(here / "hf"), "NO_PROXY": "127.0.0.1"}
    environment |= {"HF_TOKEN": token} if token else {}
    done = subprocess.run(
        [sys.executable, "-m", "edgekit", *arguments, "--json"],
        capture_output=True, text=True, check=False, cwd=here, env=environment, timeout=120,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    return done.returncode, json.loads(done.stdout)


def files_of(folder):
    return {path: (folder / path).read_bytes() for path in list_files(folder)}


def test_a_bundle_goes_to_the_hub_and_back(here):
    with serve(here / "served", TOKEN) as hub:
        code, made = edgekit(here, hub, "push", "bundle", "hf://someone/tiny")
        assert (code, made["commit"]) == (0, COMMIT)
        served = files_of(here / "served/someone/tiny")
        assert served.pop("README.md") == CARD
        assert served == files_of(here / "bundle")
        (here / "served/someone/tiny/.gitattributes").write_bytes(b"what the hub adds")
        code, got = edgekit(here, hub, "pull", "hf://someone/tiny", "-o", "got", token="")
        assert code == 0, got
        assert files_of(here / "got") == files_of(here / "bundle")
        assert not (here / ".got.pull").exists()
        written = {given for method, _, given in hub.requests if method == "POST"}
        assert written == {f"Bearer {TOKEN}"}


def test_what_the_hub_serves_is_held_to_the_manifest(here):
    with serve(here / "served", TOKEN) as hub:
        assert edgekit(here, hub, "push", "bundle", "hf://someone/tiny")[0] == 0
        file = here / "served/someone/tiny/text/tokenizer.json"
        sound = file.read_bytes()
        file.write_bytes(sound.replace(b"word1", b"w0rd1"))
        assert edgekit(here, hub, "pull", "hf://someone/tiny", "-o", "got")[0] == 7
        file.unlink()
        code, error = edgekit(here, hub, "pull", "hf://someone/tiny", "-o", "other")
        assert (code, "is listed in edgekit.json but not in" in json.dumps(error)) == (7, True)
    assert not (here / "got").exists()
    assert not (here / "other").exists()


def test_who_may_not_write_is_told(here):
    with serve(here / "served", TOKEN) as hub:
        code, error = edgekit(here, hub, "push", "bundle", "hf://someone/tiny", token="hf_wrong")  # noqa: S106
        assert code == 3
        assert "HF_TOKEN" in json.dumps(error)
        assert edgekit(here, hub, "push", "bundle", "hf://someone/tiny", "--token", TOKEN, token="")[0] == 0
        assert edgekit(here, hub, "pull", "hf://someone/none", "-o", "got")[0] == 3


@pytest.mark.parametrize(
    "text", ["hf://", "hf://name", "hf://a/b/c", "hf://../x", "hf://a/..", "hf://a/b@", "a/b", "hf://a/b@-x"]
)
def test_what_names_no_repository_is_a_usage_error(text):
    with pytest.raises(UsageError):
        HubReference.parse(text)
