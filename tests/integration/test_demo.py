"""``edgekit demo`` in a real browser: it answers as the runtime does, its evidence beside it, nobody else is asked."""

import json
import socket
import struct
import subprocess
import sys
import wave
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from edgekit.cli import main
from edgekit.pipeline import BuildRequest, build
from edgekit.runtime import load
from edgekit.spec.progress import Silent

from ..unit.tiny_generator import write_generator, write_seq2seq  # noqa: TID252 - tests are no installed package
from .audio_checkpoints import write_ast, write_whisper
from .chromium import Page, chromium_or_skip
from .docs_places import _png
from .vision_checkpoints import write_image_checkpoint

ROOT = Path(__file__).parents[2]
RELEASED = ROOT / "tests" / "released" / "tiny-2.0"
PYTHON = ROOT / ".venv-ui" / "bin" / "python"
ELSEWHERE = (
    "performance.getEntriesByType('resource').map(one => one.name)"
    ".filter(name => !/^(data|blob):/.test(name) && !name.startsWith(location.origin))"
)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    chromium = chromium_or_skip()
    if not PYTHON.exists():
        pytest.skip("Gradio's environment is not there: make .venv-ui/.ready")
    with Page(tmp_path_factory.mktemp("chromium"), chromium, seconds=240) as page:
        yield page


@pytest.fixture(scope="module")
def released(page):
    with serving(RELEASED) as url:
        yield url


@contextmanager
def serving(bundle, *arguments):
    """The address of the bundle's page, while it is served."""
    command = [str(PYTHON), "-m", "edgekit", "demo", str(bundle), "--port", "0", "--json", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            line = process.stdout.readline()
            assert line, "it ended before it served"
            yield json.loads(line)["url"]
        finally:
            process.terminate()
            process.wait(60)


def fill(page, name, text):
    """Type a text into a field."""
    page.evaluate(
        f"(() => {{ const field = document.querySelector('#{name} textarea, #{name} input');"
        f"field.value = {json.dumps(text)}; field.dispatchEvent(new Event('input', {{bubbles: true}})); }})()"
    )


def opened(page, url):
    page.open(url)
    page.wait("document.querySelector('#ask') && document.querySelector('#facts h2')")


def ask(page, suffix=""):
    """Press the button, and wait for the time that stands under every answer."""
    took = f"document.querySelector('#took{suffix}')"
    page.evaluate(f"document.querySelector('#ask{suffix}').click()")
    page.wait(f"{took} && {took}.innerText.includes('ms on this machine')")


def text_of(page, selector):
    return page.evaluate(f"document.querySelector({json.dumps(selector)}).innerText")


def test_texts_are_compared_as_the_runtime_does(page, released):
    opened(page, released)
    fill(page, "texts", "word1\nword2 word3\n<b>word1</b> | word4")
    ask(page)
    shown = [row.split("\t") for row in text_of(page, "#cosines table tbody").splitlines()]
    vectors = load(RELEASED).embed(["word1", "word2 word3", "<b>word1</b> | word4"])
    expected = [[f"{cosine:.3f}" for cosine in cosines] for cosines in vectors @ vectors.T]
    assert [row[1:] for row in shown] == expected
    assert shown[2][0] == "3. <b>word1</b> | word4"
    assert "no evidence in this bundle" in text_of(page, "#facts")
    assert "tiny" in page.evaluate("document.title")


def test_the_page_asks_this_program_only_and_fits_a_phone(page, released):
    page.screen(390, 844, dark=True)
    opened(page, released)
    ask(page)
    assert page.evaluate(ELSEWHERE) == []
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    policy = page.evaluate("fetch('/').then(answer => answer.headers.get('content-security-policy'))")
    assert "default-src 'self'" in policy
    blocked = "fetch('https://example.org').then(() => 'went out', error => 'stayed in')"
    assert page.evaluate(blocked) == "stayed in"
    page.screen(1280, 900, dark=False)


def test_it_binds_loopback_unless_told_otherwise(page, released):
    port = int(released.rstrip("/").rpartition(":")[2])
    listening = [line.split()[1] for line in Path("/proc/net/tcp").read_text().splitlines()[1:]
                 if line.split()[3] == "0A"]  # fmt: skip
    assert [address for address in listening if address.endswith(f":{port:04X}")] == [
        f"{struct.pack('<I', struct.unpack('>I', socket.inet_aton('127.0.0.1'))[0]).hex().upper()}:{port:04X}"
    ]


def test_an_error_is_said_on_the_page(page, released):
    opened(page, released)
    fill(page, "texts", "   ")
    page.evaluate("document.querySelector('#ask').click()")
    page.wait("document.body.innerText.includes('write a text first')")


def test_an_installed_bundle_is_opened_by_its_name(page, tmp_path):
    store = str(tmp_path / "store")
    assert main(["install", str(RELEASED), "--store", store]) == 0
    with serving("tiny", "--store", store) as url:
        opened(page, url)
        assert "tiny" in page.evaluate("document.title")
        ask(page)
        assert "1.000" in text_of(page, "#cosines table tbody")


def test_a_generated_text_grows_on_the_page(page, tmp_path):
    bundle = write_generator(tmp_path / "bundle")
    asked = "a b c"
    expected = "".join(load(bundle).stream(asked, max_new_tokens=64, do_sample=False))
    with serving(bundle) as url:
        opened(page, url)
        fill(page, "text", asked)
        ask(page)
        page.wait(f"document.querySelector('#written textarea').value === {json.dumps(expected)}")


def test_a_damaged_bundle_is_refused_before_anything_is_served(tmp_path):
    if not PYTHON.exists():
        pytest.skip("Gradio's environment is not there: make .venv-ui/.ready")
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    (bundle / "edgekit.json").write_text("{}")
    done = _refused([PYTHON, "-m", "edgekit", "demo", bundle, "--json"])
    assert done.returncode == 7
    assert json.loads(done.stdout)["error"]["kind"] == "integrity"


def test_without_gradio_the_extra_is_named():
    script = "import sys; sys.modules['gradio'] = None; from edgekit.cli import main; sys.exit(main(sys.argv[1:]))"
    done = _refused([sys.executable, "-c", script, "demo", RELEASED, "--json"])
    assert done.returncode == 2
    assert "edgekit[ui]" in json.loads(done.stdout)["error"]["hint"]


def _refused(command):
    return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=ROOT, check=False)


@pytest.mark.export
@pytest.mark.long
@pytest.mark.parametrize(
    ("task", "shown"),
    [
        ("text-classification", "#labels"),
        ("zero-shot-classification", "#labels"),
        ("token-classification", "#tags"),
        ("question-answering", "#answer"),
        ("fill-mask", "#labels"),
        ("text-ranking", "#ranked table"),
    ],
)
def test_every_text_task_has_a_page_that_answers(page, made, task, shown):
    _, model = made(task)
    with serving(_path_of(made, task)) as url:
        opened(page, url)
        assert task in text_of(page, "#facts")
        assert "Parity: unproven" in text_of(page, "#facts")
        ask(page)
        found = text_of(page, shown)
    if task == "text-classification":
        (best,) = model("A fine film, and not a minute too long.", top_k=1)
        assert best["label"] in found.splitlines()
    assert found.strip()


def _path_of(made, task):
    checkpoint, _ = made(task)
    return checkpoint.with_name(f"{checkpoint.name}.bundle")


def test_a_rewritten_text_grows_on_the_page(page, tmp_path):
    bundle = write_seq2seq(tmp_path / "bundle")
    expected = "".join(load(bundle).stream("a b c", max_new_tokens=64))
    with serving(bundle) as url:
        opened(page, url)
        fill(page, "text", "a b c")
        ask(page)
        page.wait(f"document.querySelector('#written textarea').value === {json.dumps(expected)}")


@pytest.mark.export
@pytest.mark.long
@pytest.mark.parametrize(
    ("kind", "task"), [("vit", "image-classification"), ("clip", "zero-shot-image-classification")]
)
def test_an_image_that_is_chosen_is_looked_at(page, tmp_path, kind, task):
    write_image_checkpoint(tmp_path / "checkpoint", kind)
    bundle = _build(tmp_path, task)
    (tmp_path / "one.png").write_bytes(_png(48, 40))
    with serving(bundle) as url:
        opened(page, url)
        page.upload("#image input[type=file]", tmp_path / "one.png")
        page.wait("document.querySelector('#image img')")
        ask(page)
        assert text_of(page, "#labels").strip()


@pytest.mark.export
@pytest.mark.long
@pytest.mark.parametrize(
    ("write", "task", "shown"),
    [
        (write_ast, "audio-classification", "#labels"),
        (write_whisper, "automatic-speech-recognition", "#written textarea"),
    ],
)
def test_a_sound_that_is_chosen_is_heard(page, tmp_path, write, task, shown):
    write(tmp_path / "checkpoint")
    bundle = _build(tmp_path, task)
    clip = tmp_path / "clip.wav"
    with wave.open(str(clip), "wb") as stream:
        stream.setnchannels(1)
        stream.setsampwidth(2)
        stream.setframerate(16_000)
        samples = (np.random.default_rng(0).standard_normal(12_000) * 3000).astype("<i2")
        stream.writeframes(samples.tobytes())
    with serving(bundle) as url:
        opened(page, url)
        page.upload("#clip input[type=file]", clip)
        page.wait("document.querySelector('#clip audio, #clip .waveform-container, #clip [data-testid^=waveform]')")
        ask(page)
        assert page.evaluate(f"Boolean(document.querySelector({json.dumps(shown)}))")


def _build(folder, task):
    request = BuildRequest(
        str(folder / "checkpoint"), ("x86_64-avx2", "arm64-neon"), folder / "bundle", task, recipe="fp32",
        allow_unproven=True,
    )  # fmt: skip
    build(request, Silent())
    return folder / "bundle"
