import json
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers

from edgekit.errors import HostError, InputError, IntegrityError
from edgekit.runtime.text import CHARACTERS_PER_TOKEN, TextEncoder, check_inputs
from edgekit.spec.manifest import Tensor
from edgekit.spec.settings.text import TextSettings

from .tiny_model import MAX_LENGTH, VOCABULARY, tokenizer_json

SETTINGS = TextSettings("text/tokenizer.json", MAX_LENGTH, 0, 0)
ENCODER = TextEncoder(tokenizer_json(), SETTINGS)
INPUTS = tuple(
    Tensor(name, dtype, ("b", "s"))
    for name, dtype in [
        ("input_ids", "int64"), ("attention_mask", "int32"), ("token_type_ids", "int64"), ("position_ids", "int64")
    ]
)  # fmt: skip


def test_special_tokens_are_added_and_the_files_own_settings_are_not_used():
    assert ENCODER.encode(["word0 word1 word2 word3 word4 word5"]) == [[2, 4, 5, 6, 7, 8, 9, 3]]


def test_an_empty_text_is_its_special_tokens():
    assert ENCODER.encode([""]) == [[2, 3]]
    assert ENCODER.encode([" \t\n"]) == [[2, 3]]


def test_truncation_keeps_the_special_tokens():
    assert ENCODER.encode(["word0 " * 100]) == [[2, *[4] * (MAX_LENGTH - 2), 3]]


@settings(deadline=None)
@given(
    st.lists(st.sampled_from(VOCABULARY[4:]), min_size=1, max_size=400), st.sampled_from([" ", "  ", "\n", " \u3000"])
)
def test_cutting_huge_texts_changes_no_token(words, space):
    uncut = Tokenizer.from_str(tokenizer_json().decode())
    uncut.no_padding()
    uncut.enable_truncation(MAX_LENGTH)
    text = space.join(words)
    assert ENCODER.encode([text]) == [uncut.encode(text).ids]


def test_no_word_is_cut_in_two():
    bound = MAX_LENGTH * CHARACTERS_PER_TOKEN
    for fill in range(bound - 12, bound + 2):
        text = "word1" + " " * fill + "word22 " + "word3 " * 400
        assert ENCODER.encode([text])[0][:2] == [2, 5]
        assert set(ENCODER.encode([text])[0]) <= {2, 3, 5, VOCABULARY.index("word22"), VOCABULARY.index("word3")}


@pytest.mark.parametrize("text", ["a" * 5_000_000, " " * 5_000_000, "word1 " * 1_000_000, "\u4e2d" * 2_000_000])
def test_huge_texts_take_bounded_time(text):
    began = time.perf_counter()
    (ids,) = ENCODER.encode([text])
    assert len(ids) <= MAX_LENGTH
    assert time.perf_counter() - began < 1


def test_batches_are_padded_to_the_longest():
    encoder = TextEncoder(tokenizer_json(), TextSettings("text/tokenizer.json", MAX_LENGTH, 1, 1))
    feeds = encoder.batch([[2, 5, 3], [2, 3]], INPUTS)
    assert {name: array.tolist() for name, array in feeds.items()} == {
        "input_ids": [[2, 5, 3], [2, 3, 1]],
        "attention_mask": [[1, 1, 1], [1, 1, 0]],
        "token_type_ids": [[0, 0, 0], [0, 0, 1]],
        "position_ids": [[0, 1, 2], [0, 1, 2]],
    }
    assert {name: array.dtype for name, array in feeds.items()} == {
        tensor.name: np.dtype(tensor.dtype) for tensor in INPUTS
    }


def test_only_what_the_graph_asks_for_is_made():
    assert list(ENCODER.batch([[2, 3]], INPUTS[:1])) == ["input_ids"]


@pytest.mark.parametrize(("name", "dtype"), [("pixel_values", "float32"), ("input_ids", "float32")])
def test_inputs_that_are_not_text_are_refused(name, dtype):
    check_inputs(INPUTS)
    with pytest.raises(HostError, match=name):
        check_inputs((Tensor(name, dtype, ("b", "s")),))


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb"])
def test_lone_surrogates_are_no_text(text):
    with pytest.raises(InputError, match=r"text 1: character . is a lone surrogate"):
        ENCODER.encode(["word1", text])


@pytest.mark.parametrize("data", [b"", b"{}", b"not json", b"\xff\xfe", b'{"model": {"type": "Mystery"}}', b"[" * 9999])
def test_a_broken_tokenizer_is_an_integrity_error(data):
    with pytest.raises(IntegrityError, match=r"text/tokenizer\.json: the tokenizer failed"):
        TextEncoder(data, SETTINGS)


def test_a_panic_in_the_tokenizer_is_a_typed_error():
    encoder = TextEncoder(tokenizer_json(), SETTINGS)

    class PanicException(BaseException):  # what pyo3 raises when Rust panics
        pass

    class Panicking:
        def encode(self, *_, **__):
            raise PanicException("index out of bounds")

    encoder._tokenizer = Panicking()
    with pytest.raises(InputError, match="text 0: the tokenizer failed: index out of bounds"):
        encoder.encode(["word1"])


def test_an_interrupt_is_not_swallowed():
    encoder = TextEncoder(tokenizer_json(), SETTINGS)

    class Interrupted:
        def encode(self, *_, **__):
            raise KeyboardInterrupt

    encoder._tokenizer = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        encoder.encode(["word1"])


@pytest.mark.parametrize("max_length", [1, 2])
def test_a_length_without_room_for_text_is_refused(max_length):
    with pytest.raises(IntegrityError, match="no room beside 2 special tokens"):
        TextEncoder(tokenizer_json(), TextSettings("text/tokenizer.json", max_length, 0, 0))


def test_padding_with_an_id_that_is_no_token_is_refused():
    with pytest.raises(IntegrityError, match="pad_id 64 is no token"):
        TextEncoder(tokenizer_json(), TextSettings("text/tokenizer.json", MAX_LENGTH, 64, 0))


def test_other_token_types_need_a_newer_edgekit():
    data = json.loads(tokenizer_json())
    data["post_processor"]["single"][0]["SpecialToken"]["type_id"] = 2
    with pytest.raises(HostError, match="token types"):
        TextEncoder(json.dumps(data).encode(), SETTINGS)


def test_a_tokenizer_without_special_tokens_may_give_no_tokens():
    bare = Tokenizer(models.WordLevel({"[PAD]": 0, "a": 1}, unk_token="[PAD]"))  # noqa: S106
    bare.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    encoder = TextEncoder(bare.to_str().encode(), SETTINGS)
    assert encoder.encode(["", "a"]) == [[], [1]]
    assert encoder.batch([[]], INPUTS[:2])["attention_mask"].tolist() == [[0]]
