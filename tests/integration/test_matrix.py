"""A sample of the architecture matrix, one architecture of each kind, and faults that it must call wrong."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import onnx_ir as ir
import pytest

from benchmarks.matrix import graphs, single, table, tiny, work
from benchmarks.matrix.failure import Failure
from benchmarks.matrix.judge import BOUND
from edgekit.stages import quirks

ROWS = {row.name: row for row in table.read()}
# One layer instead of two: what is proved here is the matrix, `make matrix` proves the architectures.
SAMPLE = (
    ("distilbert", "text-classification", {"n_layers": 1}),
    ("gpt2", "text-generation", {"n_layer": 1}),
    ("t5", "text2text-generation", {"num_layers": 1, "num_decoder_layers": 1}),
    ("resnet", "image-classification", {}),
    ("sew", "audio-classification", {"num_hidden_layers": 1}),
    ("siglip", "zero-shot-image-classification", {}),
)
LONG = ("t5", "resnet")  # left to `make test-all`: an encoder, a decoder, sounds and pictures are enough here


@pytest.fixture(scope="module")
def context():
    return work.workers()


@pytest.mark.export
@pytest.mark.parametrize(
    ("name", "task", "config"),
    [pytest.param(*row, id=row[0], marks=[pytest.mark.long] if row[0] in LONG else []) for row in SAMPLE],
)
def test_architecture_is_right(context, name, task, config):
    found = work.attempt(context, replace(ROWS[name], config={**ROWS[name].config, **config}), task)
    assert found["result"] == "right", found["reason"]
    assert found["relative"] < BOUND
    assert found["shapes"] == 3


@pytest.mark.export
def test_what_cannot_be_exported_is_told_in_words(context):
    found = work.attempt(context, ROWS["longformer"], "feature-extraction")
    assert found["result"] == "cannot"
    assert found["reason"].startswith("exporting: LongformerModel cannot be exported: a branch or a size depends on")
    assert "modeling_longformer.py" in found["reason"]


@pytest.mark.export
def test_an_endless_export_ends(context):
    found = work.attempt(context, ROWS["bert"], "feature-extraction", limit_seconds=0)
    assert (found["result"], found["reason"]) == ("cannot", "no end within 0 s")


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A tiny encoder, what torch says, and its healthy graph."""
    import transformers

    model = tiny.tiny_model(transformers.AutoModel, tiny.tiny_config("distilbert", {"n_layers": 1}))
    asked = single.ask(model)
    return model, asked, single.export(model, asked, tmp_path_factory.mktemp("matrix"))["model"]


def planted(exported, tmp_path, fault):
    model, asked, path = exported
    graph = ir.external_data.load_to_model(ir.load(path))
    fault(graph)
    ir.save(graph, tmp_path / "model.onnx")
    return single.compare(model, asked, {"model": tmp_path / "model.onnx"})


@pytest.mark.export
def test_healthy_graph_is_within_the_bound(exported, tmp_path):
    assert planted(exported, tmp_path, lambda graph: None).relative < BOUND


@pytest.mark.export
def test_one_percent_on_one_weight_is_wrong(exported, tmp_path):
    def scale(graph):
        weights = [value for value in graph.graph.initializers.values() if len(value.shape) == 2]
        value = max(weights, key=lambda one: one.const_value.size)
        value.const_value = ir.tensor(np.ascontiguousarray(value.const_value.numpy() * 1.01), name=value.name)

    assert planted(exported, tmp_path, scale).relative > BOUND


@pytest.mark.export
def test_fixed_batch_is_named(exported, tmp_path):
    def fix(graph):
        for value in graph.graph.inputs:
            value.shape = ir.Shape([2, *value.shape[1:]])

    with pytest.raises(Failure, match=r"dimension 0 of input input_ids is fixed to 2 in the graph; 1 was fed"):
        planted(exported, tmp_path, fix)


@pytest.mark.export
def test_constant_answers_prove_nothing(exported):
    import transformers

    model = tiny.tiny_model(transformers.AutoModel, tiny.tiny_config("distilbert", {"n_layers": 1}))
    for weight in model.parameters():
        weight.data.zero_()
    assert single.ask(model).dead == ("last_hidden_state",)


@pytest.mark.export
@pytest.mark.parametrize("row", [row for row in ROWS.values() if row.name in {"llama", "gemma3_text", "clip", "swin"}])
def test_shrunk_configurations_are_tiny_and_whole(row):
    import transformers

    config = tiny.tiny_config(row.name, row.config)
    model = tiny.tiny_model(getattr(transformers, table.AUTO_CLASSES[row.tasks[0]]), config)
    assert sum(weight.numel() for weight in model.parameters()) < 3_000_000
    text = config.get_text_config()
    for name in ("eos_token_id", "bos_token_id", "pad_token_id"):
        value = getattr(text, name, None)
        assert value is None or value < text.vocab_size


@pytest.mark.export
def test_layers_of_every_kind_are_kept():
    kinds = tiny.tiny_config("gemma3_text", {}).layer_types
    assert sorted(set(kinds)) == ["full_attention", "sliding_attention"]


class Doubled:
    """Made a torch module below; its sizes go through int(), as Depth Anything's."""

    def forward(self, pixel_values):
        import torch

        height, width = pixel_values.shape[2:]
        size = (int(height * 2), int(width * 2))
        return {"predicted_depth": torch.nn.functional.interpolate(pixel_values, size)}


@pytest.mark.export
def test_a_size_that_goes_through_int_stays_free(tmp_path, monkeypatch):
    import torch

    model = type("Head", (Doubled, torch.nn.Module), {"__module__": __name__})()
    model.config = SimpleNamespace(model_type="depth_anything")
    picture = np.ones((1, 3, 6, 8), np.float32)

    def size_of_the_answer():
        path = graphs.export_single(model, {"pixel_values": torch.ones(2, 3, 4, 4)}, ("predicted_depth",), tmp_path)
        return graphs.run(graphs.open_session(path), {"pixel_values": picture})["predicted_depth"].shape

    assert size_of_the_answer() == (1, 3, 12, 16)
    assert "int" not in globals()
    monkeypatch.setattr(quirks, "_TRACES", {})
    assert size_of_the_answer() == (1, 3, 8, 8)  # without its quirk: the sample's own, and nobody complains


@pytest.mark.export
def test_without_its_quirk_sew_is_silently_wrong(tmp_path, monkeypatch):
    import transformers

    monkeypatch.setattr(quirks, "_SAMPLES", {})
    model = tiny.tiny_model(
        transformers.AutoModelForAudioClassification, tiny.tiny_config("sew", {"num_hidden_layers": 1})
    )
    asked = single.ask(model)
    assert single.compare(model, asked, single.export(model, asked, tmp_path)).relative > 100 * BOUND
