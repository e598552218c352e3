"""Exported components generate what transformers generates, token for token, with the weights stored once."""

from types import SimpleNamespace

import numpy as np
import pytest

from edgekit.errors import ExportError
from edgekit.stages import component_files, ladder, recipes, weights
from edgekit.stages.export import export
from edgekit.stages.generation_defaults import decoder_layers
from edgekit.stages.generation_parts import cache_argument, generation_parts
from edgekit.stages.start import Start

from .tiny_generators import CONFIGS, NEW_TOKENS, Loop, asked, greedy, tiny_model

pytestmark = pytest.mark.export

SAMPLED = ("llama", "t5")  # rotary and grouped; encoder and relative positions

GROUPED = ("llama", "qwen3")


@pytest.fixture(
    scope="module",
    params=[kind if kind in SAMPLED else pytest.param(kind, marks=pytest.mark.long) for kind in CONFIGS],
)
def exported(request, tmp_path_factory):
    """A model, and the folder of its components."""
    model = tiny_model(request.param)
    folder = tmp_path_factory.mktemp(request.param) / "fp32"
    component_files.save({name: export(part) for name, part in generation_parts(model).items()}, folder)
    return model, folder


@pytest.mark.parametrize("batch", [1, 3])
def test_greedy_text_is_that_of_transformers(exported, batch):
    model, folder = exported
    inputs = asked(model, batch)
    expected = greedy(model, inputs)
    found = Loop(folder).greedy(inputs, NEW_TOKENS)
    assert expected.shape == (batch, NEW_TOKENS)
    assert len(np.unique(expected)) > 3, "a text of one token would prove nothing"
    assert (found == expected).all(), f"differ from token {int((found != expected).any(axis=0).argmax())} on"


def test_the_layers_with_a_cache_are_counted(exported):
    model, folder = exported
    decode = component_files.load_one(folder, "decode").graph
    assert decoder_layers(model.config) == sum(value.name.endswith(".key") for value in decode.outputs)


def test_grouped_attention_is_fused_in_every_layer(exported):
    model, folder = exported
    if model.config.model_type not in GROUPED:
        pytest.skip("nothing is claimed of this architecture")
    decode = component_files.load_one(folder, "decode").graph
    fused = [node for node in decode if node.op_type == "GroupQueryAttention"]
    assert len(fused) == model.config.num_hidden_layers
    sizes = {
        value.name: str(value.shape[2]) for value in (*decode.inputs, *decode.outputs) if value.name[-4:] == ".key"
    }
    assert set(sizes.values()) == {"capacity"}  # a step writes into the cache and copies nothing


def test_weights_are_stored_once(exported):
    model, folder = exported
    parameters = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    stored = (folder / "weights.data").stat().st_size
    assert 0.9 * parameters < stored < 1.05 * parameters


def test_weights_are_named_as_in_the_checkpoint(exported):
    model, folder = exported
    parameters = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    for component, graph in component_files.load(folder).items():
        for name, value in graph.graph.initializers.items():
            if value.const_value.nbytes >= component_files.MIN_EXTERNAL_BYTES and len(value.const_value.shape) == 2:
                assert {part for part in name.split("+") if not part.isdigit()} <= parameters | _BUFFERS, component


def test_quantized_components_share_their_weights(exported, tmp_path):
    model, folder = exported
    recipe = ladder.ladder("int8-blockwise", ("prefill", "decode"))[0]
    recipes.make(recipe, Start(folder, {}), tmp_path)
    report = weights.compare_weights(tmp_path, folder)
    assert report.quantized
    assert all(check.passed for check in report.checks(saturating_target=True))
    shrunk = (tmp_path / "weights.data").stat().st_size / (folder / "weights.data").stat().st_size
    assert shrunk < 0.65  # tables under a megabyte, a large part of these models, stay float
    assert Loop(tmp_path).greedy(asked(model, 3), 4).shape == (3, 4)


@pytest.mark.parametrize(
    ("forward", "name"),
    [
        (lambda input_ids, cache=None: None, "cache"),  # from transformers 5.24 on
        (lambda input_ids, past_key_values=None: None, "past_key_values"),
        (lambda input_ids: None, ""),
    ],
)
def test_a_cache_is_found_under_both_of_its_names(forward, name):
    assert cache_argument(SimpleNamespace(forward=forward)) == name


def test_a_size_that_is_fixed_is_refused():
    import torch

    class Fixed(torch.nn.Module):
        """Decodes over a past of the sample's length alone."""

        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, past, **inputs):
            length = int(past[0]["key"].shape[2])
            past = [{name: tensor[:, :, :length] for name, tensor in layer.items()} for layer in past]
            return self.inner(past=past, **inputs)

    part = generation_parts(tiny_model("llama"))["decode"]
    part = type(part)(Fixed(part.module), part.sample, part.outputs, part.axes, fused=True)
    with pytest.raises(ExportError, match=r"fixes a size that must be free|is fixed"):
        export(part)


_BUFFERS = {"model.final_logits_bias", "final_logits_bias"}
