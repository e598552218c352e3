"""Bundles that generate answer token for token as ``transformers.generate`` does."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.runtime import load, pipeline
from edgekit.runtime.answers import agreement
from edgekit.runtime.detokenizing import StopStrings, TokenTexts
from edgekit.runtime.sampling import GenerationOptions, Sampler
from edgekit.stages import fetch, reference

from .generating import write_bundle, write_checkpoint

NEW = 128
PROMPTS = ("The quick brown", "A", "the tokens it writes are those of the original, 日本語")
OTHERS = [pytest.param(arch, marks=pytest.mark.long) for arch in ("gpt2", "qwen3", "gemma", "t5", "bart")]
CHAT = [{"role": "user", "content": " Is it proven? "}]


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """Checkpoint and bundle of an architecture."""

    @cache
    def make(arch):
        folder = tmp_path_factory.mktemp(arch)
        work = folder / "work"
        work.mkdir()
        write_checkpoint(arch, folder / "checkpoint")
        write_bundle(folder / "checkpoint", task_of(arch), folder / "bundle", work)
        return folder / "checkpoint", folder / "bundle"

    return make


def task_of(arch):
    return "text2text-generation" if arch in ("t5", "bart") else "text-generation"


def original(checkpoint, task):
    """(model, tokenizer) of transformers."""
    from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

    kind = AutoModelForCausalLM if task == "text-generation" else AutoModelForSeq2SeqLM
    return kind.from_pretrained(checkpoint).eval(), AutoTokenizer.from_pretrained(checkpoint, padding_side="left")


def greedy(model, prompts, encoded=None):
    # A random encoder-decoder circles within a few tokens if it may.
    options = GenerationOptions(max_new_tokens=NEW, no_repeat_ngram_size=0 if encoded is None else 2)
    steps = model._writer.decoder.steps(prompts, options, encoded=encoded)
    return np.stack([step.tokens for step in steps], axis=1).tolist()


@pytest.mark.export
@pytest.mark.parametrize("arch", ["llama", *OTHERS])
def test_greedy_tokens_are_those_of_transformers(made, arch):
    checkpoint, bundle = made(arch)
    model, tokenizer = original(checkpoint, task_of(arch))
    options = {"max_new_tokens": NEW, "do_sample": False, "eos_token_id": None, "forced_eos_token_id": None}
    with load(bundle) as ours:
        for texts in ([PROMPTS[0]], PROMPTS):
            if task_of(arch) == "text-generation":
                asked = tokenizer(list(texts), return_tensors="pt", padding=True)
                want = model.generate(**asked, **options)[:, asked["input_ids"].shape[1] :].tolist()
                assert greedy(ours, tokenizer(list(texts))["input_ids"]) == want
            else:
                tokenizer.padding_side = "right"
                asked = tokenizer(list(texts), return_tensors="pt", padding=True)
                want = model.generate(**asked, **options, no_repeat_ngram_size=2)[:, 1:].tolist()
                ids = tokenizer(list(texts))["input_ids"]
                assert greedy(ours, [ours._start] * len(texts), ours._encode(ids)) == want
            assert len(want[0]) == NEW
            assert len(set(want[0])) > 10  # a constant answer would prove nothing


@pytest.mark.export
@pytest.mark.parametrize("arch", ["llama", *OTHERS])
def test_raw_answers_are_the_references(made, arch, tmp_path):
    checkpoint, bundle = made(arch)
    asked = [{"text": text} for text in PROMPTS] + [{"text": PROMPTS[0], "target": PROMPTS[2]}]
    want = reference.load_reference(fetch.fetch(str(checkpoint)), task_of(arch), tmp_path).raw(asked)
    with load(bundle) as ours:
        for batch_size in (1, 4):
            for expected, found in zip(want, ours.raw(asked, batch_size=batch_size), strict=True):
                assert agreement(expected, found) > 0.9999


@pytest.mark.export
def test_results_are_those_of_the_pipeline(made):
    import transformers

    checkpoint, bundle = made("llama")
    theirs = transformers.pipeline("text-generation", str(checkpoint))
    options = {"max_new_tokens": 12, "do_sample": False}
    more = [*CHAT, {"role": "assistant", "content": "It"}]
    with pipeline("text-generation", bundle) as ours:
        for inputs in (PROMPTS[0], list(PROMPTS), CHAT, [CHAT, more], more):
            for full in (True, False):
                asked = {"return_full_text": full, **options}
                assert ours(inputs, **asked) == theirs(inputs, **asked)
        assert ours(list(PROMPTS), batch_size=3, **options) == ours(list(PROMPTS), **options)
        assert (
            "".join(ours.stream(CHAT, **options)) == ours(CHAT, return_full_text=False, **options)[0]["generated_text"]
        )


@pytest.mark.export
def test_the_rules_for_tokens_change_the_text_as_they_change_the_originals(made):
    checkpoint, bundle = made("llama")
    model, tokenizer = original(checkpoint, "text-generation")
    asked = tokenizer(PROMPTS[2], return_tensors="pt")
    with load(bundle) as ours:
        plain = ours(PROMPTS[2], max_new_tokens=40, do_sample=False, return_full_text=False)
        for rules in (
            {"repetition_penalty": 1.3},
            {"no_repeat_ngram_size": 2},
            {"min_new_tokens": 40},
            {"stop_strings": [plain[0]["generated_text"][9:11]]},
            {"stop_strings": plain[0]["generated_text"][5:6]},
        ):
            options = {"max_new_tokens": 40, "do_sample": False} | rules
            ids = model.generate(**asked, **options, tokenizer=tokenizer)[0, asked["input_ids"].shape[1] :]
            want = tokenizer.decode(ids, skip_special_tokens=True)
            assert ours(PROMPTS[2], return_full_text=False, **options) == [{"generated_text": want}]
            assert "".join(ours.stream(PROMPTS[2], **options)) == want


OPTIONS = st.fixed_dictionaries(
    {"do_sample": st.booleans()},
    optional={
        "temperature": st.floats(0.1, 5),
        "top_k": st.integers(0, 40),
        "top_p": st.floats(0.05, 1),
        "min_p": st.floats(0, 0.9),
        "repetition_penalty": st.floats(0.5, 3),
        "no_repeat_ngram_size": st.integers(0, 3),
        "min_new_tokens": st.integers(0, 6),
        "min_length": st.integers(0, 12),
        "forced_bos_token_id": st.integers(20, 29),
        "suppress_tokens": st.lists(st.integers(0, 19), max_size=4),  # transformers refuses to suppress what it forces
        "begin_suppress_tokens": st.lists(st.integers(0, 29), max_size=4),
    },
)
NAMES = {
    "forced_bos_token_id": "forced_bos_id",
    "suppress_tokens": "suppress_ids",
    "begin_suppress_tokens": "begin_suppress_ids",
}


@settings(max_examples=100, deadline=None)
@given(options=OPTIONS, prompt=st.integers(1, 4), generated=st.integers(0, 6), seed=st.integers(0, 2**31))
def test_scores_are_those_of_transformers_processors(options, prompt, generated, seed):
    import torch
    from transformers import GenerationConfig

    vocabulary, length = 30, prompt + generated
    random = np.random.default_rng(seed)
    logits = random.normal(0, 3, (2, vocabulary)).astype(np.float32)
    tokens = random.integers(0, vocabulary, (2, length))
    theirs = {name: value for name, value in options.items() if not (name == "min_p" and value == 0)}
    config = GenerationConfig(**theirs, eos_token_id=[3, 5], max_length=99)
    model = _tiny_model()
    model._prepare_special_tokens(config, device="cpu")
    processors = model._get_logits_processor(config, input_ids_seq_length=prompt, device="cpu")
    want = processors(torch.from_numpy(tokens), torch.from_numpy(logits)).numpy()
    mine = {
        NAMES.get(name, name): tuple(value) if isinstance(value, list) else value for name, value in options.items()
    }
    chosen = {"top_k": 0 if config.top_k is None else config.top_k} | mine  # None there is no rule
    sampler = Sampler(GenerationOptions(**chosen, eos_ids=(3, 5)), prompt_length=prompt, vocabulary=vocabulary)
    found = sampler.scores(logits, tokens, np.zeros(2, np.int64))
    np.testing.assert_allclose(found, want, rtol=1e-5)


@cache
def _tiny_model():
    from transformers import GPT2Config, GPT2LMHeadModel

    return GPT2LMHeadModel(GPT2Config(vocab_size=30, n_embd=8, n_layer=1, n_head=1, n_positions=32))


@cache
def _tiny_tokenizer():
    from .generating import _tokenizer

    return _tokenizer()


@settings(max_examples=100, deadline=None)
@given(
    ids=st.lists(st.integers(0, 399), min_size=1, max_size=12),
    place=st.integers(0, 30),
    length=st.integers(1, 6),
    prompt=st.integers(0, 3),
)
def test_stop_strings_end_where_transformers_ends(ids, place, length, prompt):
    import torch
    from transformers import StopStringCriteria

    tokenizer = _tiny_tokenizer()
    text = tokenizer.decode(ids).replace("\N{REPLACEMENT CHARACTER}", "")
    string = text[place % max(1, len(text)) :][:length] or "e"
    theirs = StopStringCriteria(tokenizer, [string])
    prompt = min(prompt, len(ids) - 1)
    ours = StopStrings(TokenTexts(tokenizer.backend_tokenizer), [string], ids[:prompt])
    for end in range(prompt + 1, len(ids) + 1):
        want = bool(theirs(torch.tensor([ids[:end]]), None)[0])
        assert ours.add(ids[end - 1]) == want, (string, end)
