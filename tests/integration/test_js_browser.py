"""The JavaScript package in a real browser: the same answers and refusals, from a bundle served on loopback."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from edgekit.runtime import load

from .chromium import Page, chromium_or_skip
from .javascript import build_package, same, serving

RELEASED = Path(__file__).parents[1] / "released" / "tiny-2.0"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    build_package()
    with Page(tmp_path_factory.mktemp("chromium"), chromium_or_skip()) as page:
        yield page


def opened(page, address):
    """Open the demo and wait until it has opened the bundle, or says why not."""
    page.open(f"{address}/demo/index.html?bundle=/bundle/")
    page.wait("!document.querySelector('#open button').disabled && !document.getElementById('facts').hidden")
    return page.evaluate("document.getElementById('facts').innerText")


def ask(page, calls):
    return page.evaluate(
        "Promise.all([import('edgekit'), import('/test/ask.js')])"
        f".then(([edgekit, {{ ask }}]) => ask(edgekit, '/bundle/', {calls}))"
    )


def test_a_page_gives_pythons_answers(page):
    ours = load(RELEASED)
    with serving(RELEASED) as address:
        facts = opened(page, address)
        found = ask(page, [["embed", ["word1", "word2 word3"]], ["selfTest"]])
    assert "3 golden cases" in facts
    assert found["sha256"] in facts
    assert same(found["answers"][0], ours.embed(["word1", "word2 word3"])) < 1e-5
    assert found["answers"][1]["passed"]


def test_the_demo_answers_and_fits_a_phone(page):
    page.screen(390, 844, dark=True)
    with serving(RELEASED) as address:
        opened(page, address)
        page.evaluate("document.getElementById('files').open = true")
        page.evaluate("document.getElementById('ask').requestSubmit()")
        page.wait("document.querySelectorAll('#answer li').length === 3")
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(22, 24, 26)"
    assert "ms" in page.evaluate("document.getElementById('timing').innerText")


@pytest.mark.parametrize("file", ["edgekit.json", "text/tokenizer.json", "model/plain/model.onnx.data"])
def test_a_flipped_byte_in_a_served_file_is_refused(page, tmp_path, file):
    bundle = tmp_path / "bundle"
    shutil.copytree(RELEASED, bundle)
    data = bytearray((bundle / file).read_bytes())
    data[len(data) // 2] ^= 1
    (bundle / file).write_bytes(data)
    with serving(bundle) as address:
        facts = opened(page, address)
        error = ask(page, [])["error"]
    assert error["kind"] == "integrity"
    assert error["exitCode"] == 7
    assert error["message"].startswith(file)
    assert "Refused\nintegrity" in facts


def test_a_missing_file_is_refused(page, tmp_path):
    bundle = tmp_path / "bundle"
    shutil.copytree(RELEASED, bundle)
    (bundle / "text" / "tokenizer.json").unlink()
    with serving(bundle) as address:
        assert "text/tokenizer.json: is missing" in opened(page, address)


@pytest.mark.export
@pytest.mark.long
def test_real_embeddings_in_a_page(page, minilm):
    ours = load(minilm.bundle)
    texts = ["The film was dreadful.", "I hated that movie.", "caf\u00e9 \U0001f642"]
    with serving(minilm.bundle) as address:
        opened(page, address)
        vectors, tested = ask(page, [["embed", texts], ["selfTest"]])["answers"]
    assert tested["passed"]
    assert all(float(np.dot(one, other)) > 1 - 1e-3 for one, other in zip(vectors, ours.embed(texts), strict=True))
