"""The JavaScript package answers as the Python runtime does, in Node, on bundles of all its tasks."""

import json
import subprocess

import numpy as np
import pytest

from edgekit.runtime import load
from edgekit.runtime.answers import agreement
from edgekit.runtime.pairs import PairEncoder
from edgekit.spec.settings.text import TextSettings

from ..unit.small_tokenizer import bytelevel_json, unigram_json, wordpiece_json  # noqa: TID252 - tests are no package
from .checkpoints import minilm_folder
from .javascript import ask_node, build_package, in_units, same
from .text_bundles import QUESTIONS, TEXTS, bundle_of

TOKENS = 24
BEYOND_LATIN = [
    "e\u0301 na\u00efve \u1e9b\u0323 A\u030a \ufb01ne \u00bd \u2167",
    "\u03a3\u038a\u03a3\u03a5\u03a6\u039f\u03a3 \u0130stanbul stra\u00dfe",
    "\ud55c\uad6d\uc5b4 \u1100\u1161\u11a8 \U00020000\u4e2d\u6587",
    "\U0001f600\U0001f44d\U0001f3fd \U0001f468\u200d\U0001f469 [MASK]x  <mask> a </s>",
    "a\u00a0b\u2003c\u200bd\ufeffe\u0085f\u00adg\u0378h\x00 \ufffd",
    "", "  two  spaces \t\r\n ", "x" * 120, "##foo ##bar's it's U.S. $5.00",
]  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def package():
    return build_package()


def test_the_packages_own_tests_pass(package):
    files = sorted(str(file) for file in (package / "test").glob("*.test.js"))
    done = subprocess.run(["node", "--test", *files], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def answers(bundle, calls, **options):
    found = ask_node("answer.js", {"where": str(bundle), "calls": calls, "options": options})
    assert "error" not in found, found
    return found["answers"]


def test_tokens_and_their_places_are_those_of_the_rust_tokenizers(tmp_path):
    texts = [*TEXTS, *BEYOND_LATIN, *made_up_texts(150)]
    tokenizers = dict(all_tokenizers())
    for name, data in tokenizers.items():
        (tmp_path / name).write_bytes(data)
    asked = {"tokenizers": [str(tmp_path / name) for name in tokenizers], "texts": texts, "maxLength": TOKENS}
    for (name, data), found in zip(tokenizers.items(), ask_node("tokens.js", asked), strict=True):
        encoder = PairEncoder(data, TextSettings(name, TOKENS, 0, 0))
        for index, text in enumerate(texts):
            assert found[index] == tokens_of(encoder, text, texts[(index + 1) % len(texts)]), (name, text)


def tokens_of(encoder, text, other):
    bare, pair = encoder._pieces(text), encoder.encode(text, other)
    words = bare.words.tolist()
    joined = encoder.join([encoder.token(number) for number in bare.ids.tolist()])
    return {
        "ids": bare.ids.tolist(),
        "offsets": bare.offsets.tolist(),
        "sameWord": [place > 0 and word == words[place - 1] for place, word in enumerate(words)],
        "joined": joined,
        "joinedAgain": encoder.join([joined, text, joined]),
        "cut": encoder.encode(text).ids.tolist(),
        "pair": [pair.ids.tolist(), pair.type_ids.tolist(), pair.sequence.tolist()],
    }


def all_tokenizers():
    minilm = (minilm_folder() / "tokenizer.json").read_bytes()
    yield from {
        "minilm": minilm,
        "wordpiece": wordpiece_json(),
        "bytes": bytelevel_json(),
        "unigram": unigram_json(),
    }.items()
    cased = json.loads(minilm)
    cased["normalizer"] |= {"lowercase": False, "strip_accents": False}
    yield "cased", json.dumps(cased).encode()
    spaced = json.loads(bytelevel_json())
    spaced["normalizer"] = {"type": "NFC"}
    spaced["pre_tokenizer"]["add_prefix_space"] = spaced["post_processor"]["add_prefix_space"] = True
    yield "spaced", json.dumps(spaced).encode()
    steps = [
        {"type": "Strip", "strip_left": True, "strip_right": True},
        {"type": "NFKC"},
        {"type": "Lowercase"},
        {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "},
    ]
    normalized = json.loads(unigram_json())
    normalized["normalizer"] = {"type": "Sequence", "normalizers": steps}
    yield "normalized", json.dumps(normalized).encode()


def made_up_texts(count):
    draw = np.random.default_rng(0)
    letters = list(
        "abc ABC .,'!?-#\t\n 012 \u00e9\u00e0\u00fc\u00df\u00f1\u4e2d\u6587\ud55c\uae00\U0001f642\u0301\u0316"
        "\u0130\u03a3\u03c3\ufb01"
    )
    words = ["the", "cat", "sat", "on", "paris", "unbelievable", "caf\u00e9", "\u4e2d\u6587", "don't", "U.S.", "3,000"]
    for number in range(count):
        if number % 3:
            yield "".join(draw.choice(letters, size=draw.integers(1, 50)))
        else:
            yield " ".join(draw.choice(words, size=draw.integers(1, 40)))


@pytest.mark.export
def test_text_classification(made):
    checkpoint, ours = made("text-classification")
    pair = {"text": "the cat", "text_pair": "sat on the mat"}
    asked = [
        (inputs, options)
        for inputs in (TEXTS, TEXTS[0], TEXTS[:1], "", [""], pair, [pair, {"text": "a mat"}])
        for options in ({}, {"top_k": 1}, {"top_k": 2}, {"top_k": None, "function_to_apply": "softmax"},
                        {"top_k": None, "function_to_apply": "none"}, {"batch_size": 3})
    ]  # fmt: skip
    found = answers(bundle_of(checkpoint), [["run", *one] for one in asked] + golden_calls(ours))
    same(found[: len(asked)], [ours(inputs, **options) for inputs, options in asked])
    same(raws(found[len(asked) :]), golden_answers(ours))


@pytest.mark.export
@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_token_classification(made, kind):
    checkpoint, ours = made("token-classification", kind)
    asked = [
        {"aggregation_strategy": strategy} | options
        for strategy in ("none", "simple", "first", "average", "max")
        for options in ({}, {"ignore_labels": ["B-PER", "O"]}, {"ignore_labels": [], "batch_size": 3})
    ]
    asked += [{"aggregation_strategy": "simple", "stride": stride} for stride in (0, 8, 20)]
    calls = [["run", TEXTS, options] for options in asked] + [["run", TEXTS[3], {}], ["run", "", {}]]
    found = answers(bundle_of(checkpoint), calls + golden_calls(ours))
    expected = [
        [in_units(answer, text) for answer, text in zip(ours(TEXTS, **options), TEXTS, strict=True)]
        for options in asked
    ]
    same(found[: len(calls)], [*expected, in_units(ours(TEXTS[3]), TEXTS[3]), ours("")])
    same(raws(found[len(calls) :]), golden_answers(ours))


@pytest.mark.export
def test_question_answering(made):
    checkpoint, ours = made("question-answering")
    beyond = {"question": "who \U0001f642?", "context": "\U0001f642 caf\u00e9 the old cat \U0001f642 sat on it. " * 8}
    questions = [*QUESTIONS, beyond]
    asked = [
        {},
        {"top_k": 4},
        {"max_answer_len": 2},
        {"handle_impossible_answer": True, "top_k": 3},
        {"doc_stride": 4, "max_seq_len": 40, "top_k": 2},
        {"align_to_words": False, "top_k": 3, "batch_size": 4},
        {"max_question_len": 3},
    ]
    calls = [["run", inputs, options] for options in asked for inputs in (questions, beyond)]
    found = answers(bundle_of(checkpoint), calls + golden_calls(ours))
    expected = []
    for options in asked:
        several = ours(questions, **options)
        expected.append([in_units(one, item["context"]) for one, item in zip(several, questions, strict=True)])
        expected.append(in_units(ours(beyond, **options), beyond["context"]))
    same(found[: len(calls)], expected)
    same(raws(found[len(calls) :]), golden_answers(ours))


@pytest.mark.export
def test_real_embeddings(minilm):
    ours = load(minilm.bundle)
    cases = ours.golden()
    calls = golden_calls(ours)
    *found, tested, embedded, states = answers(
        minilm.bundle, [*calls, ["selfTest"], ["embed", TEXTS], ["run", "the cat"]]
    )
    assert tested["cases"] == len(cases)
    assert tested["passed"]
    # By the measure that counts for vectors. Dynamic int8 rounds what it is given, and the last bits of that
    # are every build's own: single numbers differ more, between two CPUs as between C++ and WebAssembly.
    for answer, expected in zip(raws(found), golden_answers(ours), strict=True):
        assert agreement(expected, {name: np.float32(row) for name, row in answer.items()}) > 1 - 1e-3
    for vector, expected in zip(embedded, ours.embed(TEXTS), strict=True):
        assert float(np.dot(vector, expected)) > 1 - 1e-3
    assert np.shape(states) == np.shape(ours("the cat"))


def golden_calls(model):
    return [["raw", [dict(case.input)]] for case in model.golden()]


def golden_answers(model):
    return [dict(model.raw([case.input])[0]) for case in model.golden()]


def raws(found):
    """Raw answers of one input each, as arrays."""
    return [{name: shaped(array) for name, array in answer.items()} for (answer,) in found]


def shaped(array):
    return np.array(array["data"]).reshape(array["shape"]).tolist()
