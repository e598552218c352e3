"""What a row of data asks of a generating model, with a tokenizer that counts letters."""

import types

import pytest

from edgekit.stages.families.generation import GenerationReference


def reference(*, encoder_decoder):
    text = types.SimpleNamespace(vocab_size=100)
    config = types.SimpleNamespace(is_encoder_decoder=encoder_decoder, get_text_config=lambda decoder: text)
    starts = types.SimpleNamespace(decoder_start_token_id=0, bos_token_id=0)
    model = types.SimpleNamespace(config=config, generation_config=starts)
    return GenerationReference(
        "text2text-generation",
        model,
        lambda words, **_: {"input_ids": [len(word) for word in words.split()]},
        64,
        b"",
    )


@pytest.mark.parametrize("column", ["target", "summary", "translation"])
def test_a_row_may_say_what_its_text_is_turned_into(column):
    (case,) = reference(encoder_decoder=True).cases([{"text": "a bb", column: "ccc dddd"}])
    assert case.input == {"text": "a bb", "target": "ccc dddd"}
    assert case.truth["logits"].tolist() == [3, 4]


def test_a_text_alone_is_to_be_said_again_or_gone_on_with():
    (said,) = reference(encoder_decoder=True).cases([{"text": "a bb ccc"}])
    assert said.truth["logits"].tolist() == [1, 2, 3]
    (continued,) = reference(encoder_decoder=False).cases([{"text": "a bb ccc"}])
    assert continued.truth["logits"].tolist() == [2, 3]


def test_a_golden_case_is_judged_in_fewer_places():
    made = reference(encoder_decoder=False)
    assert made.golden({"text": "a"})["places"] >= 2
    (few,) = made.cases([{"text": "a bb ccc dddd"}])
    assert len(few.truth["logits"]) == 3
    assert len(made._forced({"text": "a bb ccc dddd", "places": 2.0}).places) == 2
