import dataclasses
import math

import numpy as np
import pytest

from edgekit.errors import HostError, UsageError
from edgekit.runtime.sampling import GenerationOptions, Sampler, softmax

from .tiny_generator import generation

LOGITS = np.array([[2.0, -1.0, 0.5, 1.0, -3.0, 0.0]], dtype=np.float32)
NONE = np.zeros((1, 0), dtype=np.int64)
START = np.zeros(1, dtype=np.int64)


def scores(tokens=(), logits=LOGITS, prompt_length=None, **options):
    history = np.array([tokens], dtype=np.int64).reshape(1, len(tokens))
    length = len(tokens) if prompt_length is None else prompt_length
    sampler = Sampler(GenerationOptions(**options), prompt_length=length, vocabulary=logits.shape[1])
    return sampler.scores(logits, history, START)[0].tolist()


def kept(*arguments, **options):
    return [token for token, score in enumerate(scores(*arguments, **options)) if score > -math.inf]


def test_greedy_takes_the_most_likely_token_and_leaves_the_logits_alone():
    before = LOGITS.copy()
    assert Sampler(GenerationOptions(), prompt_length=0, vocabulary=6).choose(LOGITS, NONE, START).tolist() == [0]
    assert scores((1, 2), repetition_penalty=2.0) != LOGITS[0].tolist()
    assert (before == LOGITS).all()


def test_seen_tokens_are_penalized_towards_less_likely_on_both_sides_of_zero():
    assert scores((0, 1, 1), repetition_penalty=2.0) == [1.0, -2.0, 0.5, 1.0, -3.0, 0.0]


def test_a_seen_token_outside_the_vocabulary_does_not_count():
    assert scores((0, 99), repetition_penalty=2.0) == [1.0, -1.0, 0.5, 1.0, -3.0, 0.0]


def test_padding_is_not_seen():
    sampler = Sampler(GenerationOptions(repetition_penalty=2.0), prompt_length=3, vocabulary=6)
    tokens = np.array([[0, 0, 3]], dtype=np.int64)
    assert sampler.scores(LOGITS, tokens, np.array([2]))[0].tolist() == [2.0, -1.0, 0.5, 0.5, -3.0, 0.0]


def test_no_ngram_comes_twice():
    assert kept((1, 2, 3, 1, 2), no_repeat_ngram_size=3) == [0, 1, 2, 4, 5]
    assert kept((1, 2), no_repeat_ngram_size=3) == [0, 1, 2, 3, 4, 5]
    assert kept((1, 2, 4), no_repeat_ngram_size=1) == [0, 3, 5]


def test_the_end_is_banned_until_enough_tokens_are_there():
    assert 5 not in kept((1, 2), prompt_length=1, min_new_tokens=2, eos_ids=(5,))
    assert 5 in kept((1, 2, 3), prompt_length=1, min_new_tokens=2, eos_ids=(5,))
    assert 5 not in kept((1, 2), prompt_length=1, min_length=3, eos_ids=(5,))
    assert 5 in kept((1, 2, 3), prompt_length=1, min_length=3, eos_ids=(5,))


def test_the_first_and_the_last_token_can_be_forced():
    assert kept((3,), prompt_length=1, forced_bos_id=4) == [4]
    assert len(kept((3, 4), prompt_length=1, forced_bos_id=4)) == 6
    assert len(kept((3, 4), prompt_length=2, forced_bos_id=4)) == 6  # there is a beginning already
    assert kept((3, 1), prompt_length=1, max_new_tokens=2, forced_eos_ids=(5,)) == [5]
    assert len(kept((3,), prompt_length=1, max_new_tokens=2, forced_eos_ids=(5,))) == 6


def test_suppressed_tokens_never_come_and_others_not_first():
    assert kept((3,), suppress_ids=(0, 2)) == [1, 3, 4, 5]
    assert kept((3,), prompt_length=1, begin_suppress_ids=(0, 2)) == [1, 3, 4, 5]
    assert len(kept((3, 1), prompt_length=1, begin_suppress_ids=(0, 2))) == 6
    # Behind a forced first token the second counts as the beginning.
    assert kept((3, 4), prompt_length=1, forced_bos_id=4, begin_suppress_ids=(0, 2)) == [1, 3, 4, 5]


def test_drawing_narrows_the_choice_and_greedy_does_not():
    assert kept(do_sample=True, top_k=2) == [0, 3]
    assert kept(top_k=2) == [0, 1, 2, 3, 4, 5]
    assert kept(do_sample=True, top_k=0) == [0, 1, 2, 3, 4, 5]
    tied = np.array([[1.0, 1.0, 1.0, 0.0]], dtype=np.float32)
    assert kept(logits=tied, do_sample=True, top_k=2) == [0, 1, 2]


def test_top_p_keeps_the_fewest_tokens_that_hold_the_mass():
    logits = np.log(np.array([[0.5, 0.05, 0.25, 0.2]], dtype=np.float32))
    assert kept(logits=logits, do_sample=True, top_p=0.7) == [0, 2]
    assert kept(logits=logits, do_sample=True, top_p=0.76) == [0, 2, 3]
    assert kept(logits=logits, do_sample=True, top_p=0.0) == [0]


def test_min_p_is_relative_to_the_most_likely():
    logits = np.log(np.array([[0.5, 0.05, 0.25, 0.2]], dtype=np.float32))
    assert kept(logits=logits, do_sample=True, min_p=0.45) == [0, 2]


def test_temperature_divides():
    assert scores(do_sample=True, temperature=2.0, top_k=0) == [1.0, -0.5, 0.25, 0.5, -1.5, 0.0]


def test_draws_follow_the_probabilities_and_the_seed():
    many = np.repeat(LOGITS, 20000, axis=0)
    history, starts = np.zeros((20000, 0), dtype=np.int64), np.zeros(20000, dtype=np.int64)

    def draw(seed):
        options = GenerationOptions(do_sample=True, top_k=0, seed=seed)
        return Sampler(options, prompt_length=0, vocabulary=6).choose(many, history, starts)

    drawn = draw(3)
    assert (drawn == draw(3)).all()
    assert (drawn != draw(4)).any()
    shares = np.bincount(drawn, minlength=6) / 20000
    np.testing.assert_allclose(shares, softmax(LOGITS)[0], atol=0.015)


def test_a_banned_token_is_never_drawn():
    options = GenerationOptions(do_sample=True, suppress_ids=(0, 1, 2, 3, 4))
    sampler = Sampler(options, prompt_length=0, vocabulary=6)
    assert {int(sampler.choose(LOGITS, NONE, START)[0]) for _ in range(200)} == {5}


@pytest.mark.parametrize("do_sample", [False, True])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_no_number_is_an_error(do_sample, bad):
    logits = LOGITS.copy()
    logits[0, 2] = bad
    with pytest.raises(HostError, match="not finite"):
        Sampler(GenerationOptions(do_sample=do_sample), prompt_length=0, vocabulary=6).choose(logits, NONE, START)


@pytest.mark.parametrize("do_sample", [False, True])
def test_nothing_left_to_choose_is_an_error(do_sample):
    options = GenerationOptions(do_sample=do_sample, suppress_ids=(0, 1, 2, 3, 4, 5))
    with pytest.raises(HostError, match="every token is banned"):
        Sampler(options, prompt_length=0, vocabulary=6).choose(LOGITS, NONE, START)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_new_tokens", 0),
        ("max_new_tokens", 1.5),
        ("max_new_tokens", True),
        ("max_new_tokens", 10**9),
        ("min_new_tokens", -1),
        ("temperature", 0.0),
        ("temperature", math.nan),
        ("temperature", "1"),
        ("top_k", -1),
        ("top_p", 1.1),
        ("min_p", -0.1),
        ("repetition_penalty", 0.0),
        ("no_repeat_ngram_size", 2.0),
        ("seed", -1),
        ("do_sample", 1),
        ("stop_strings", ("",)),
        ("stop_strings", "stop"),
        ("stop_strings", (3,)),
        ("stop_strings", ("x",) * 65),
        ("eos_ids", (-1,)),
        ("forced_bos_id", -1),
    ],
)
def test_options_name_the_parameter_and_its_range(name, value):
    with pytest.raises(UsageError, match=f"^{name}.*expected"):
        GenerationOptions(**{name: value})
    with pytest.raises(UsageError, match=f"^{name}.*expected"):
        dataclasses.replace(GenerationOptions(), **{name: value})


def test_ids_that_are_no_tokens_do_not_count_but_cannot_be_forced():
    assert len(kept((3,), eos_ids=(6,), suppress_ids=(99,), min_new_tokens=1)) == 6
    for forced in ({"forced_bos_id": 6}, {"forced_eos_ids": (6,)}):
        with pytest.raises(UsageError, match="6: the model has 6 tokens"):
            Sampler(GenerationOptions(**forced), prompt_length=1, vocabulary=6)


def test_options_come_from_the_call_then_the_bundle_then_the_defaults():
    bundle = generation(do_sample=True, temperature=0.6, top_k=20, max_new_tokens=64, eos_ids=(2,))
    options = GenerationOptions.of(bundle, {"temperature": 0.9, "top_k": None}, prompt_length=5)
    assert (options.do_sample, options.temperature, options.top_k, options.max_new_tokens) == (True, 0.9, 20, 64)
    assert options.eos_ids == (2,)
    assert GenerationOptions.of(generation(max_new_tokens=None), {}, prompt_length=5).max_new_tokens == 256
    assert (
        GenerationOptions.of(generation(max_length=20, max_new_tokens=None), {}, prompt_length=5).max_new_tokens == 15
    )
    assert (
        GenerationOptions.of(generation(max_length=20, max_new_tokens=None), {}, prompt_length=25).max_new_tokens == 1
    )
    assert (
        GenerationOptions.of(
            generation(max_length=20, max_new_tokens=None), {"max_new_tokens": 7}, prompt_length=5
        ).max_new_tokens
        == 7
    )
    assert GenerationOptions.of(generation(temperature=0.0), {}, prompt_length=5).temperature == 1


@pytest.mark.parametrize(("given", "taken"), [("stop", ("stop",)), (["a", "b"], ("a", "b")), (None, ())])
def test_stop_strings_are_one_or_several(given, taken):
    assert GenerationOptions.of(generation(), {"stop_strings": given}, prompt_length=1).stop_strings == taken
