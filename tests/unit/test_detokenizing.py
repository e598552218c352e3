import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from edgekit.runtime.detokenizing import Detokenizer, StopStrings, TokenTexts, _CleanUp, clean_up

TEXTS = (
    "the cat sat on the mat, didn't it? I'm sure they've gone. grüße, żółć, 日本語, 😀 👩‍👩‍👧 'quoted' and   spaces\n",
    "stop stopping nonstop sto p",
)


def byte_level():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(TEXTS * 4, trainer)
    tokenizer.add_special_tokens(["<|end|>"])
    tokenizer.add_tokens([AddedToken("<tool é>", special=False), AddedToken("déjà", special=False)])
    return tokenizer


def fallback(*, strip):
    """As Llama's (the first space goes) and Gemma's (it stays)."""
    pieces = ["<unk>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    pieces += ["▁", "▁the", "▁cat", "s", "t", "o", "p", "▁sto", "é", "日", "▁n", "'", ".", "abcdef", "▁abcdef"]
    tokenizer = Tokenizer(
        models.BPE({piece: i for i, piece in enumerate(pieces)}, [], byte_fallback=True, unk_token="<unk>")  # noqa: S106
    )
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    chain = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    tokenizer.decoder = decoders.Sequence([*chain, *([decoders.Strip(" ", 1, 0)] if strip else [])])
    tokenizer.add_special_tokens(["<unk>", "</s>"])
    return tokenizer


def metaspace():
    """As T5's."""
    pieces = [
        "<pad>",
        "</s>",
        "▁",
        "▁the",
        "▁cat",
        "s",
        "at",
        "▁'",
        "'",
        "▁.",
        "▁n't",
        "t",
        "▁n",
        "?",
        "▁,",
        "é",
        "▁'s",
        "abcdef",
    ]
    tokenizer = Tokenizer(models.Unigram([(piece, -1.0) for piece in pieces], 0))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.add_special_tokens(["<pad>", "</s>"])
    return tokenizer


def word_piece():
    pieces = ["[PAD]", "[UNK]", "the", "cat", "##s", "##at", ".", "'", "s", "n", "'t", "abcdef"]
    tokenizer = Tokenizer(models.WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]"))  # noqa: S106
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(["[PAD]"])
    return tokenizer


def suffixes():
    pieces = ["the</w>", "cat", "s</w>", "!</w>", "a", "abcdef</w>"]
    tokenizer = Tokenizer(models.BPE({piece: i for i, piece in enumerate(pieces)}, []))
    tokenizer.decoder = decoders.BPEDecoder()
    return tokenizer


def bare():
    return Tokenizer(models.WordLevel({"the": 0, "cat": 1, "abcdef": 2}, unk_token="the"))  # noqa: S106


def mixed():
    tokenizer = byte_level()
    tokenizer.decoder = decoders.Sequence([decoders.ByteLevel(), decoders.Replace("cat", "dog")])
    return tokenizer


TOKENIZERS = {
    "byte-level": byte_level(),
    "llama": fallback(strip=True),
    "gemma": fallback(strip=False),
    "t5": metaspace(),
    "word-piece": word_piece(),
    "suffixes": suffixes(),
    "no decoder": bare(),
}


def pieces(texts, ids):
    stream = Detokenizer(texts)
    return [*(stream.add(token) for token in ids), stream.end()]


@pytest.mark.parametrize("clean", [False, True])
@pytest.mark.parametrize("name", TOKENIZERS)
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_the_pieces_joined_are_the_text_of_all_tokens(name, clean, data):
    tokenizer = TOKENIZERS[name]
    ids = data.draw(st.lists(st.integers(0, tokenizer.get_vocab_size() + 1), max_size=30))
    texts = TokenTexts(tokenizer, clean_up=clean)
    whole = tokenizer.decode(ids, skip_special_tokens=True)
    assert "".join(pieces(texts, ids)) == texts.text(ids) == (clean_up(whole) if clean else whole)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=40))
@example("日本語 😀 👩‍👩‍👧")
def test_a_character_comes_whole(text):
    tokenizer = TOKENIZERS["byte-level"]
    ids = tokenizer.encode(text).ids
    given_out = pieces(TokenTexts(tokenizer), ids)
    assert "".join(given_out) == text
    assert all("\N{REPLACEMENT CHARACTER}" not in piece for piece in given_out) or "\N{REPLACEMENT CHARACTER}" in text
    assert given_out[-1] == ""  # nothing is left over


@settings(max_examples=1000, deadline=None)
@given(st.lists(st.sampled_from([" ", "'", " '", ".", "n't", "n", "s", "ve", "x", "?", "re", "  "]), max_size=14))
def test_the_clean_up_of_a_stream_is_that_of_the_whole(parts):
    stream = _CleanUp()
    assert "".join([*map(stream.add, parts), stream.end()]) == clean_up("".join(parts))


def test_most_text_comes_at_once():
    tokenizer = TOKENIZERS["llama"]
    ids = [tokenizer.token_to_id(token) for token in ["▁the", "▁cat", "s", "<0xC3>", "<0xA9>", "s", "</s>"]]
    assert pieces(TokenTexts(tokenizer), ids) == ["the", " cat", "s", "", "", "és", "", ""]
    tokenizer = TOKENIZERS["byte-level"]
    ids = tokenizer.encode("the cat").ids
    assert all(pieces(TokenTexts(tokenizer), ids)[:-1])


def test_a_decoder_of_several_kinds_waits_for_whole_characters():
    tokenizer = mixed()
    given_out = pieces(TokenTexts(tokenizer), tokenizer.encode("the mat 😀 é").ids)
    assert "".join(given_out) == "the mat 😀 é"
    assert "\N{REPLACEMENT CHARACTER}" not in "".join(given_out)


def stopped(tokenizer, tokens, strings, prompt=()):
    ids = [tokenizer.token_to_id(token) for token in tokens]
    assert None not in ids
    stops = StopStrings(TokenTexts(tokenizer), strings, [tokenizer.token_to_id(token) for token in prompt])
    return [stops.add(token) for token in ids]


def test_a_stop_string_counts_with_the_token_that_completes_it():
    tokenizer = TOKENIZERS["llama"]
    assert stopped(tokenizer, ["▁sto", "p", "s"], ["stop"]) == [False, True, False]
    assert stopped(tokenizer, ["▁sto", "p"], [" stop"]) == [False, True]
    assert stopped(tokenizer, ["s", "t", "o", "o", "p"], ["stop"]) == [False] * 5
    assert stopped(tokenizer, ["▁the", "▁cat"], ["e c", "x"]) == [False, True]
    assert stopped(tokenizer, ["p"], ["stop"], prompt=["▁cat", "▁sto"]) == [True]
    assert stopped(tokenizer, ["s"], ["stop"], prompt=["▁sto", "p"]) == [False]  # only what is new ends it
    assert stopped(tokenizer, ["</s>"], ["</s>"]) == [True]
    assert stopped(tokenizer, ["s"], ["s"]) == [True]
    assert stopped(TOKENIZERS["no decoder"], ["the", "cat"], ["e c"]) == [False, True]


def test_a_stop_string_of_several_bytes():
    assert stopped(TOKENIZERS["llama"], ["<0xC3>", "<0xA9>"], ["é"]) == [False, True]
    tokenizer = TOKENIZERS["byte-level"]
    ids = [tokenizer.token_to_id(token) for token in ("Ã", "©")]
    stops = StopStrings(TokenTexts(tokenizer), ["é"], [])
    assert [stops.add(token) for token in ids] == [False, True]


def test_nothing_reaches_across_an_id_that_is_no_token():
    stops = StopStrings(TokenTexts(TOKENIZERS["llama"]), ["sp"], [])
    ids = [TOKENIZERS["llama"].token_to_id("s"), 9999, TOKENIZERS["llama"].token_to_id("p")]
    assert [stops.add(token) for token in ids] == [False, False, False]
