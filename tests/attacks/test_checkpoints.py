"""Hostile checkpoints: what crashes, hangs or fills a parser ends a child process, and the build with a typed error."""

import json
import os

import numpy as np
import pytest
from safetensors.numpy import save_file
from tokenizers import Regex, Tokenizer, models, pre_tokenizers

from edgekit.errors import CheckpointError
from edgekit.runtime import limited_child
from edgekit.runtime.limited_child import ChildError
from edgekit.stages import inspection
from edgekit.stages.fetch import fetch


@pytest.fixture
def checkpoint(tmp_path):
    folder = tmp_path / "tiny"
    folder.mkdir()
    save_file(
        {"embeddings": np.zeros((4, 8), np.float32), "out": np.zeros(8, np.float32)}, folder / "model.safetensors"
    )
    (folder / "config.json").write_text(json.dumps({"model_type": "bert", "num_hidden_layers": 2}))
    tokenizer().save(str(folder / "tokenizer.json"))
    return folder


def tokenizer():
    return Tokenizer(models.WordLevel({"[UNK]": 0, "the": 1}, unk_token="[UNK]"))  # noqa: S106


def edit_tokenizer(folder, **changes):
    path = folder / "tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_its_healthy_twin_is_taken(checkpoint):
    assert fetch(str(checkpoint)).config["num_hidden_layers"] == 2


def test_a_regex_of_exponential_time_ends(checkpoint):
    made = tokenizer()
    made.pre_tokenizer = pre_tokenizers.Split(Regex(r"(\S*\s*)*\S*\x07"), "isolated")
    made.save(str(checkpoint / "tokenizer.json"))
    fetch(str(checkpoint))  # Oniguruma gives up by itself


def test_a_file_that_takes_for_ever(checkpoint, monkeypatch):
    monkeypatch.setattr(inspection, "TIME_LIMIT_S", 0.01)
    with pytest.raises(CheckpointError, match=r"a process that was to read it took over 0\.01 s") as caught:
        fetch(str(checkpoint))
    assert "trust" in caught.value.hint


@pytest.mark.skipif(os.name != "posix", reason="Windows has no pipes among files")
def test_a_pipe_among_the_weights_is_no_weight(checkpoint):
    (checkpoint / "model.safetensors").unlink()
    os.mkfifo(checkpoint / "model.safetensors")
    with pytest.raises(CheckpointError, match="no weights"):
        fetch(str(checkpoint))


@pytest.mark.skipif(os.name != "posix", reason="memory is limited by setrlimit, which Windows has not")
def test_a_tokenizer_that_pads_to_four_thousand_million_tokens(checkpoint):
    pad = {"direction": "Right", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"}
    edit_tokenizer(checkpoint, padding={"strategy": {"Fixed": 4_000_000_000}, **pad})
    with pytest.raises(CheckpointError, match=r"tokenizer\.json: a process that was to read it (crashed|ended)"):
        fetch(str(checkpoint))


def test_a_tokenizer_nested_a_million_deep_is_left_to_the_tokenizer_to_refuse(checkpoint):
    (checkpoint / "tokenizer.json").write_bytes(b'{"version":' + b"[" * 1_000_000)
    fetch(str(checkpoint))  # serde refuses it: no crash


@pytest.mark.parametrize("inner", [{}, {"text_config": {"encoder_layers": 10**9}}, {"depths": [2]}])
def test_a_thousand_million_layers(checkpoint, inner):
    config = {"model_type": "bert", "num_hidden_layers": 10**9 if "text_config" not in inner else 2, **inner}
    (checkpoint / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"layers is 1000000000, and the weights are 2 tensors"):
        fetch(str(checkpoint))


def test_secrets_stay_with_the_parent(monkeypatch):
    for name in ("HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "DB_PASSWORD", "OPENAI_API_KEY", "EDGEKIT_SEEN"):
        monkeypatch.setenv(name, "x")
    said = limited_child.ask(f"{__name__}:tell_variables", [], time_limit_s=60, memory_limit_bytes=1 << 30)
    assert "EDGEKIT_SEEN" in json.loads(said)
    assert not {"HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "DB_PASSWORD", "OPENAI_API_KEY"} & set(json.loads(said))


def tell_variables(arguments, write):
    write(sorted(os.environ))


def tell_and_crash(arguments, write):
    write({"file": "x"})
    os.abort()


def test_what_a_child_said_before_its_end_is_no_answer():
    with pytest.raises(ChildError, match="crashed") as caught:
        limited_child.ask(f"{__name__}:tell_and_crash", [], time_limit_s=60, memory_limit_bytes=1 << 30)
    assert caught.value.said == b'{"file": "x"}\n'
