"""The commands that open a bundle as a device does: run, bench, verify. The embedder is a stand-in."""

import io
import json
import sys
import types

import numpy as np
import pytest

from edgekit import runtime
from edgekit.errors import HostError
from edgekit.runtime import loading, trying
from edgekit.runtime.embedding import Embedder
from edgekit.runtime.golden import Golden
from edgekit.runtime.host import Host, detect_host
from edgekit.runtime.model import SelfTest
from edgekit.runtime.workloads import SHAPES, make_texts

from .shown_bundle import shown_evidence, shown_manifest, write_shown_bundle
from .tiny_model import FOLDER, TABLE, write_tiny_model


class StandIn(Embedder):
    """Embeds a text by its length; keeps what it was asked."""

    def __init__(self) -> None:
        self.manifest = shown_manifest()
        self.variant = self.manifest.variants[1]
        self.host = Host("x86_64", frozenset({"avx2", "fma"}), "Example CPU", "linux")
        self.asked = []
        self.loads = []

    def embed(self, texts, *, batch_size=32):
        self.asked.append((list(texts), batch_size))
        return np.array([[len(text), 1, 0.1, -1] for text in texts], dtype=np.float32)

    def golden(self):
        return (Golden({"text": "a"}, {"embedding": np.ones(4, np.float32)}),)


@pytest.fixture
def model(monkeypatch):
    made = StandIn()

    def load(path, variant=None, threads=None, store=None):
        made.loads.append((str(path), variant, threads))
        return made

    monkeypatch.setattr(runtime, "load", load)
    return made


@pytest.fixture
def tried(monkeypatch):
    """Which variants a child was to try; the child is a stand-in, which finds the answers good."""
    asked = []

    def try_out(bundle, variant, *, opened, **how):
        asked.append((variant.name, how["threads"], how["verified"], how["time_limit_s"]))
        opened()
        return SelfTest(12, 0.9991, 0.9975, True, 0.1)

    monkeypatch.setattr(loading, "variant_here", lambda manifest, name: manifest.variant(name or "int8-reduced"))
    monkeypatch.setattr(trying, "try_out", try_out)
    return asked


def feed(monkeypatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=io.BytesIO(data)))


def test_run_shows_vectors_and_similarities(call, model):
    code, out, _ = call("run", "b", "one", "three", "--variant", "int8-reduced", "--threads", "2")
    assert code == 0
    assert model.loads == [("b", "int8-reduced", 2)]
    rows = [line.split() for line in out.splitlines()]
    assert ["1", "one", "4", "3.3181", "+3.0000", "+1.0000", "+0.1000", "..."] in rows
    assert ["2", "three", "0.99", "1.00"] in rows


def test_run_as_json_gives_back_the_very_floats(call, model):
    code, out, _ = call("run", "b", "one", "", "--json")
    document = json.loads(out)
    assert code == 0
    assert np.array_equal(np.array(document["embeddings"], dtype=np.float32), model.embed(["one", ""]))
    assert document["variant"] == "int8-reduced"


def test_run_reads_a_pipe_and_a_file_line_by_line(call, model, monkeypatch, tmp_path):
    feed(monkeypatch, "piped\n\nnaïve\r\n".encode())
    (tmp_path / "texts.txt").write_bytes(b"\xef\xbb\xbffrom a file")
    code, _, _ = call("run", "b", "argument", "-", "--file", tmp_path / "texts.txt")
    assert code == 0
    assert model.asked == [(["argument", "piped", "", "naïve", "from a file"], 32)]


def test_run_without_input_is_a_usage_error(call, model, monkeypatch):
    feed(monkeypatch, b"")
    for arguments in (("run", "b"), ("run", "b", "-")):
        code, _, err = call(*arguments)
        assert code == 2
        assert "no input" in err
    assert model.loads == []


def test_run_names_the_line_that_is_not_utf8(call, model, tmp_path):
    (tmp_path / "texts.txt").write_bytes(b"fine\nbroken \xff\n")
    code, _, err = call("run", "b", "--file", tmp_path / "texts.txt")
    assert code == 3
    assert "line 2 is not UTF-8" in err


def test_run_of_a_file_that_is_not_there_exits_3(call, model, tmp_path):
    code, _, err = call("run", "b", "--file", tmp_path / "none.txt")
    assert code == 3
    assert err.startswith("error[data]: ")


def test_run_writes_an_array(call, model, tmp_path):
    code, out, _ = call("run", "b", "one", "three", "--npy", tmp_path / "vectors.bin")
    assert code == 0
    assert "2 x 4 float32" in out
    assert np.array_equal(np.load(tmp_path / "vectors.bin"), model.embed(["one", "three"]))
    assert [path.name for path in tmp_path.iterdir()] == ["vectors.bin"]


def test_run_leaves_no_half_written_array(call, model, tmp_path):
    (tmp_path / "taken").mkdir()
    code, _, err = call("run", "b", "one", "--npy", tmp_path / "taken")
    assert code == 3
    assert err.startswith("error[output]: ")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_run_of_a_text_with_control_characters_does_not_steer_the_terminal(call, model):
    code, out, _ = call("run", "b", "\x1b[2Jclear", "[red]markup[/red]")
    assert code == 0
    assert "\x1b" not in out
    assert "[red]markup[/red]" in out


def test_verify_ticks_files_host_and_answers(call, tried, tmp_path):
    write_shown_bundle(tmp_path / "b", shown_evidence())
    code, out, _ = call("verify", tmp_path / "b")
    assert code == 0
    marks = [line.split()[:2] for line in out.splitlines() if line.strip()]
    assert marks == [["✓", "integrity"], ["✓", "this"], ["✓", "answers"]]
    assert "runs int8-reduced" in out
    assert "12 golden cases, worst agreement 0.999100" in out
    assert tried == [("int8-reduced", None, True, 120)]


def test_verify_passes_on_what_was_asked(call, tried, tmp_path):
    write_shown_bundle(tmp_path / "b", shown_evidence())
    code, _, _ = call("verify", tmp_path / "b", "--variant", "int8-vnni", "--threads", "2", "--time-limit", "7")
    assert code == 0
    assert tried == [("int8-vnni", 2, True, 7)]
    code, out, err = call("verify", tmp_path / "b", "--threads", "2000")
    assert (code, out.split()[-3]) == (2, "✗")
    assert "threads 2000" in err


def test_verify_as_json(call, tried, tmp_path):
    write_shown_bundle(tmp_path / "b", shown_evidence())
    code, out, _ = call("verify", tmp_path / "b", "--json")
    assert code == 0
    document = json.loads(out)
    assert document["host"] == {"variant": "int8-reduced", "architecture": detect_host().architecture}
    assert document["answers"] == {"cases": 12, "worst_agreement": 0.9991, "bound": 0.9975}


def test_verify_of_a_changed_file_exits_7_and_loads_nothing(call, tried, tmp_path):
    manifest = write_shown_bundle(tmp_path / "b", shown_evidence())
    (tmp_path / "b" / manifest.variants[0].graph_path("model")).write_bytes(b"grapH")
    code, out, err = call("verify", tmp_path / "b")
    assert code == 7
    assert out.split()[:2] == ["✗", "integrity"]
    assert manifest.variants[0].graph_path("model") in err
    assert tried == []


def test_verify_on_the_wrong_host_exits_8(call, tmp_path, monkeypatch):
    def variant_here(manifest, name):
        raise HostError("no variant fits", hint="export for this machine")

    monkeypatch.setattr(loading, "variant_here", variant_here)
    write_shown_bundle(tmp_path / "b", shown_evidence())
    code, out, _ = call("verify", tmp_path / "b")
    assert code == 8
    assert [line.split()[0] for line in out.splitlines() if line.strip()] == ["✓", "✗"]


def test_verify_with_wrong_answers_exits_5(call, tmp_path):
    other = {f"{FOLDER}/model.onnx.data": np.roll(TABLE, 1, axis=0).tobytes()}
    write_tiny_model(tmp_path / "b", files=other)
    code, out, err = call("verify", tmp_path / "b")
    assert code == 5
    assert [line.split()[0] for line in out.splitlines() if line.strip()] == ["✓", "✓", "✗"]
    assert "golden cases: worst agreement " in err
    assert " of 3, expected at least 0.9999" in err


def test_bench_times_the_shapes_that_the_model_takes(call, model):
    code, out, _ = call("bench", "b", "--rounds", "3")
    assert code == 0
    assert "1 x 16" in out
    assert "1 x 128" not in out  # the stand-in takes 16 tokens
    assert "Example CPU (x86_64, linux)" in out
    assert "ratios hold, absolute times vary" in out
    assert " p90 " not in out  # 3 rounds tell no percentile
    assert {batch for _, batch in model.asked} == {1}


def test_bench_against_another_bundle_gives_a_ratio(call, model):
    code, out, _ = call("bench", "b", "--against", "c", "--rounds", "3", "--json", "--threads", "1")
    document = json.loads(out)
    assert code == 0
    assert [path for path, _, _ in model.loads] == ["b", "c"]
    assert list(document["workloads"][0]["samples"]) == ["minilm/int8-reduced", "minilm/int8-reduced#2"]
    assert document["host"]["threads"] == 1
    assert "p90_ms" not in document["workloads"][0]["samples"]["minilm/int8-reduced"]


def test_bench_shows_a_percentile_where_the_samples_allow_it(call, model):
    _, out, _ = call("bench", "b", "--rounds", "64")
    assert "p90 ms" in out
    assert "p95 ms" not in out


@pytest.mark.parametrize(("batch", "tokens"), SHAPES)
def test_bench_texts_have_a_word_for_each_token(batch, tokens):
    texts = make_texts(batch, tokens)
    assert len(set(texts)) == batch
    assert {len(text.split()) + 2 for text in texts} == {tokens}
