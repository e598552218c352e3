"""The decode graph is calibrated on steps that continue what the prefill graph read."""

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest

from edgekit.stages import component_files
from edgekit.stages.decode_feeds import with_decode

from .tiny_decoder import component, expected

TEXTS = ([3, 1, 4, 1, 5], [9, 2], [6])


@pytest.fixture(params=[False, True], ids=["decoder", "encoder-decoder"])
def made(request, tmp_path):
    """(folder of the graphs, feeds of prefill, what the encoder adds to a token)."""
    models = {
        name: ir.from_proto(onnx.load_from_string(component(name, encoder=request.param, kept=name == "prefill")[0]))
        for name in ("prefill", "decode")
    }
    component_files.save(models, tmp_path)
    encoded = {
        "encoder_hidden_states": np.array([[[2.0], [5.0]]], np.float32),
        "encoder_attention_mask": np.ones((1, 2), np.int64),
    }
    feeds = []
    for ids in TEXTS:
        places = np.arange(len(ids))[None]
        read = {"input_ids": np.array([ids]), "attention_mask": np.ones((1, len(ids)), np.int64)}
        feeds.append(read | {"position_ids": places, "logit_positions": places} | (encoded if request.param else {}))
    return tmp_path, feeds, 7 if request.param else 0


def test_a_step_answers_what_follows_the_text(made):
    folder, prefill, encoder = made
    steps = with_decode({"prefill": prefill}, folder)["decode"]
    assert len(steps) == 2  # a text of one token has no step
    session = onnxruntime.InferenceSession(folder / "decode.onnx", providers=["CPUExecutionProvider"])
    for ids, step in zip(TEXTS, steps, strict=False):
        assert step["past.0.key"].shape[2] == len(ids) - 1
        (logits,) = session.run(["logits"], step)
        assert [int(logits[0, 0].argmax())] == expected(ids, 1, encoder=encoder)


def test_feeds_without_prefill_or_with_decode_stay_as_they_are(tmp_path):
    for feeds in ({}, {"model": [{}]}, {"prefill": [{}], "decode": [{}]}):
        assert with_decode(feeds, tmp_path) is feeds
