"""The manifest's section on generating text: what is written is read, and nothing that makes no sense is."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.errors import RecordError
from edgekit.spec.reader import Table
from edgekit.spec.settings.generation import GenerationSettings

DECODER = GenerationSettings(
    kind="decoder",
    layers=2,
    eos_ids=(2, 7),
    pad_id=0,
    bos_id=1,
    decoder_start_id=None,
    max_positions=512,
    judged_places=64,
    do_sample=True,
    num_beams=1,
    temperature=0.7,
    top_k=50,
    top_p=1.0,
    min_p=0.0,
    repetition_penalty=1.0,
    no_repeat_ngram_size=0,
    max_length=None,
    max_new_tokens=256,
    min_length=0,
    min_new_tokens=0,
    forced_bos_id=None,
    forced_eos_ids=(),
    suppress_ids=(),
    begin_suppress_ids=(3,),
    prefixes={"summarization": "summarize: "},
    clean_up=False,
    chat_template="assets/chat_template.jinja",
    special_tokens={"eos_token": "</s>"},
)


def read(document):
    table = Table(document, "settings")
    settings = GenerationSettings.read(table)
    table.done()
    return settings


def test_what_is_written_is_read():
    pair = dataclasses.replace(DECODER, kind="encoder-decoder", decoder_start_id=0, max_length=20, bos_id=None)
    for settings in (DECODER, pair):
        assert read(settings.to_json()) == settings
    assert "bos_id" not in pair.to_json()


def test_the_chat_template_must_be_in_the_bundle():
    assert DECODER.files() == ("assets/chat_template.jinja",)
    assert dataclasses.replace(DECODER, chat_template="").files() == ()


def test_every_layer_has_a_cache_among_the_outputs():
    assert DECODER.outputs() == ("logits", "present.0.key", "present.1.value")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("kind", "encoder"),
        ("layers", 0),
        ("eos_ids", [1, -1]),
        ("eos_ids", [1, "2"]),
        ("eos_ids", [True]),
        ("eos_ids", [1 << 31]),
        ("eos_ids", list(range(5000))),
        ("pad_id", -1),
        ("bos_id", None),
        ("decoder_start_id", 0),
        ("judged_places", 0),
        ("num_beams", 0),
        ("temperature", -0.1),
        ("top_p", 1.1),
        ("min_p", -1e-9),
        ("repetition_penalty", 0),
        ("do_sample", 1),
        ("prefixes", {"translation": 1}),
        ("special_tokens", ["</s>"]),
    ],
)
def test_values_out_of_bounds_are_refused(key, value):
    with pytest.raises(RecordError, match=key):
        read(DECODER.to_json() | {key: value})


def test_an_encoder_decoder_needs_a_start():
    with pytest.raises(RecordError, match="decoder_start_id"):
        read(DECODER.to_json() | {"kind": "encoder-decoder"})


@given(st.sampled_from(sorted(DECODER.to_json())), st.none() | st.booleans() | st.integers() | st.text() | st.floats())
def test_any_value_is_read_or_refused(key, value):
    try:
        settings = read(DECODER.to_json() | {key: value})
    except RecordError:
        return
    assert read(settings.to_json()) == settings
