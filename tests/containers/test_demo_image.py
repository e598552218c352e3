"""The demo's image without an engine: its packages cut down by the Dockerfile's steps, the page in a browser."""

import json
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from edgekit.bundle.reading import Bundle
from edgekit.containers.context import Recipe, write_context
from edgekit.containers.estimate import BASES_MB
from edgekit.runtime import load

# ruff: noqa: TID252 - tests are no installed package
from ..integration.chromium import Page, chromium_or_skip
from .root import Root, lend

ROOT = Path(__file__).parents[2]
UI = ROOT / ".venv-ui"  # Gradio and what it needs; it does not go beside the build side
PATIENCE_S = 240
GOAL_MB = 350
# The page's files that were not found.
MISSING = "performance.getEntriesByType('resource').filter(one => one.responseStatus >= 400).map(one => one.name)"

pytestmark = pytest.mark.skipif(
    not (UI / "bin/python").exists(), reason="Gradio's environment is not there: make .venv-ui/.ready"
)


def weighed(bundle):
    """The estimate, made where the demo's packages are."""
    command = [UI / "bin/python", "-m", "edgekit", "dockerfile", bundle, "--for", "demo", "--estimate", "--json"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    return json.loads(done.stdout)["estimate"]


@pytest.fixture(scope="module")
def root(bundle, wheel, tmp_path_factory):
    """The image's root, with packages that were installed before."""
    work = tmp_path_factory.mktemp("demo-image")
    write_context(Bundle.open(bundle), Recipe("demo", wheel=wheel), work / "context")
    (work / "root").mkdir()

    def lend_packages(root, step):
        if "venv" in step["value"]:
            (site,) = (root.folder / "opt/edgekit").rglob("site-packages")
            (lent,) = (UI / "lib").glob("python*/site-packages")
            lend(lent, site)

    return Root(work / "context", work / "root", after=lend_packages, environment={"PIP_NO_INDEX": "1"})


def files(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def test_it_is_estimated_under_350_mb_without_its_bundle_and_weighs_what_is_estimated(root, bundle):
    found = weighed(bundle)
    assert found["missing"] == []
    assert {"gradio", "pandas", "pillow", "edgekit"} <= set(found["packages_mb"])
    assert "hf-xet" not in found["packages_mb"]
    assert found["without_bundle_mb"] < GOAL_MB
    size_mb = sum(path.lstat().st_size for path in root.folder.rglob("*") if path.is_file()) / 1e6
    assert sum(found["packages_mb"].values()) + found["compiled_mb"] == pytest.approx(size_mb, rel=0.1)
    assert max(BASES_MB.values()) + size_mb < GOAL_MB


def test_the_page_answers_from_there_misses_no_file_and_writes_nothing(root, bundle, tmp_path):
    chromium = chromium_or_skip()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    before = files(root.folder)
    command = [word.replace("7860", str(port)).replace("0.0.0.0", "127.0.0.1") for word in root.entrypoint]  # noqa: S104
    command[0] = str(root.folder / "opt/edgekit/bin" / command[0])
    check = [word.replace("7860", str(port)) for word in root.healthcheck]
    check[0] = str(root.folder / "opt/edgekit/bin" / check[0])
    temporary = {"HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    started = subprocess.Popen(
        command, env=root.variables() | temporary, cwd=root.workdir, stdout=subprocess.PIPE, text=True
    )
    try:
        assert started.stdout.readline(), "it ended before it served"
        assert subprocess.run(check, check=False, env=root.variables()).returncode == 0
        (tmp_path / "chromium").mkdir()
        with Page(tmp_path / "chromium", chromium, seconds=PATIENCE_S) as page, load(bundle) as model:
            page.open(f"http://127.0.0.1:{port}/")
            page.wait("document.querySelector('#ask') && document.querySelector('#facts h2')")
            page.evaluate(
                "(() => { const field = document.querySelector('#texts textarea'); field.value = 'word1\\nword2 word3';"
                "field.dispatchEvent(new Event('input', {bubbles: true})); document.querySelector('#ask').click(); })()"
            )
            page.wait("document.querySelector('#took')?.innerText.includes('ms on this machine')")
            shown = page.evaluate("document.querySelector('#cosines table tbody').innerText")
            first, second = model.embed(["word1", "word2 word3"])
            assert f"{first @ second:.3f}" in shown
            assert page.evaluate(MISSING) == []
    finally:
        started.send_signal(signal.SIGINT)  # what STOPSIGNAL says
        started.communicate(timeout=PATIENCE_S)
    assert started.returncode == 0
    # Gradio wants to keep a number for names of cached files; where it may not write, as in an image, it makes it anew.
    assert {Path(path).name for path in files(root.folder) - before} <= {"hash_seed.txt"}
    assert before <= files(root.folder)
