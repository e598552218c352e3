import dataclasses
import tracemalloc

import numpy as np
import pytest

from edgekit.errors import HostError, InputError, IntegrityError, UsageError
from edgekit.runtime.binding import Buffer
from edgekit.runtime.decoding import Decoder
from edgekit.runtime.sampling import GenerationOptions
from edgekit.runtime.session import Session
from edgekit.spec.manifest import Tensor

from .tiny_decoder import VOCABULARY, expected, tiny_decoder

PAD = 0


@pytest.fixture(scope="module")
def graphs():
    return tiny_decoder()


@pytest.fixture(scope="module")
def decoder(graphs):
    return Decoder(*graphs, pad_id=PAD, max_positions=0)


def rows(decoder, prompts, options=None, **more):
    """The counting tokens of each row."""
    answers = [[] for _ in prompts]
    for step in decoder.steps(prompts, options or GenerationOptions(max_new_tokens=20), **more):
        for row, answer in enumerate(answers):
            if step.live[row]:
                answer.append(int(step.tokens[row]))
    return answers


def test_one_row(decoder):
    assert rows(decoder, [[3, 1, 4]]) == [expected([3, 1, 4], 20)]


def test_rows_of_a_batch_answer_as_each_alone(decoder):
    prompts = [[3, 1, 4, 1, 5], [9], [2, 6, 5]]
    assert rows(decoder, prompts) == [expected(prompt, 20) for prompt in prompts]


def test_a_padding_id_outside_the_vocabulary_never_reaches_the_graph(graphs):
    decoder = Decoder(*graphs, pad_id=50256, max_positions=0)
    assert rows(decoder, [[3, 1], [9]]) == [expected([3, 1], 20), expected([9], 20)]


def test_a_half_precision_cache():
    assert rows(Decoder(*tiny_decoder(cache="float16"), pad_id=0, max_positions=0), [[3, 1]]) == [expected([3, 1], 20)]


def test_what_the_encoder_says_is_read_at_every_step():
    decoder = Decoder(*tiny_decoder(encoder=True), pad_id=0, max_positions=0)
    encoded = {
        "encoder_hidden_states": np.array([[[1], [2], [9]], [[4], [0], [1]]], dtype=np.float32),
        "encoder_attention_mask": np.array([[1, 1, 0], [1, 1, 1]]),
    }
    answers = rows(decoder, [[3], [3]], encoded=encoded)
    assert answers == [expected([3], 20, encoder=3), expected([3], 20, encoder=5)]
    with pytest.raises(InputError, match="the prefill graph also takes encoder_attention_mask"):
        next(decoder.steps([[3]], GenerationOptions()))
    with pytest.raises(InputError, match=r"encoder_hidden_states: shape .* does not fit"):
        next(decoder.steps([[3]], GenerationOptions(), encoded=encoded | {"encoder_hidden_states": np.ones((1, 3))}))


def test_a_row_ends_with_the_end_token_and_the_others_go_on(decoder):
    whole = [expected([3, 1, 4], 20), expected([9], 20)]
    end = next(token for token in whole[0] if token not in whole[1][: whole[0].index(token) + 3])
    place = whole[0].index(end)
    steps = list(decoder.steps([[3, 1, 4], [9]], GenerationOptions(max_new_tokens=20, eos_ids=(end,))))
    assert [bool(step.ended[0]) for step in steps] == [count >= place for count in range(len(steps))]
    assert all(step.tokens[0] == PAD for step in steps[place + 1 :])
    first, second = rows(decoder, [[3, 1, 4], [9]], GenerationOptions(max_new_tokens=20, eos_ids=(end,)))
    assert first == whole[0][: place + 1]
    assert second == whole[1][: whole[1].index(end) + 1 if end in whole[1] else 20]
    assert len(second) > len(first)


def test_it_stops_when_every_row_has_ended(decoder):
    end = expected([3, 1, 4], 3)[-1]
    assert rows(decoder, [[3, 1, 4]] * 2, GenerationOptions(eos_ids=(end,))) == [expected([3, 1, 4], 3)] * 2


def test_the_caller_can_end_a_row(decoder):
    asked = []

    def stop(row, token):
        asked.append((row, token))
        return row == 0 and len(asked) > 2

    first, second = rows(decoder, [[3], [4]], GenerationOptions(max_new_tokens=4), stop=stop)
    assert (first, second) == (expected([3], 2), expected([4], 4))
    assert [row for row, _ in asked] == [0, 1, 0, 1, 1, 1]


def test_the_last_position_ends_a_row(graphs):
    short = Decoder(*graphs, pad_id=PAD, max_positions=8)
    assert rows(short, [[3, 1, 4], [1]]) == [expected([3, 1, 4], 5), expected([1], 5)]
    with pytest.raises(InputError, match="the prompt has 8 tokens, this model takes at most 7"):
        rows(short, [[1] * 8])


@pytest.mark.parametrize("prompt_length", [1, 2, 4])
@pytest.mark.parametrize("kept", [False, True])
def test_teacher_forcing_gives_what_the_steps_see(prompt_length, kept):
    rows = [[3, 1, 4, 1], [9, 2, 6, 5]]
    decoder = Decoder(*tiny_decoder(kept=kept), pad_id=PAD, max_positions=4)
    for wanted in (1, 2, 4):
        logits = decoder.teacher_forced(rows, prompt_length, wanted)
        assert logits.shape == (2, wanted, VOCABULARY)
        for row, answers in zip(rows, logits, strict=True):
            nexts = [expected(row[: place + 1], 1)[0] for place in range(4)]
            assert answers.argmax(axis=-1).tolist() == nexts[-wanted:]
    with pytest.raises(InputError, match="the row has 5 tokens, this model takes at most 4"):
        decoder.teacher_forced([[1] * 5], prompt_length, 1)


def test_a_prefill_that_gives_only_the_logits_asked_for():
    assert rows(Decoder(*tiny_decoder(kept=True), pad_id=0, max_positions=0), [[3, 1]]) == [expected([3, 1], 20)]


def test_threads_may_share_a_decoder(decoder):
    one, two = decoder.steps([[3, 1]], GenerationOptions()), decoder.steps([[5], [6]], GenerationOptions())
    pairs = [(int(next(one).tokens[0]), next(two).tokens.tolist()) for _ in range(10)]
    assert [first for first, _ in pairs] == expected([3, 1], 10)
    assert [second for _, (_, second) in pairs] == expected([6], 10)


def test_a_step_allocates_nothing_that_stays(decoder):
    """Beyond the buffers made at the start: what Python and numpy hold grows by less than a number for each step."""

    def growth(count):
        steps = decoder.steps([[3, 1]], GenerationOptions(max_new_tokens=1000))
        for _ in range(20):
            next(steps)
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(count):
            next(steps)
        return tracemalloc.get_traced_memory()[0] - before

    tracemalloc.start()
    try:
        growth(10)
        assert growth(400) <= 400 * 16
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ([], "at least one prompt"),
        ([[1], []], "at least one token"),
        ([[1, "a"]], "prompt 0: expected a list of token ids"),
        ([[1], [-1]], "negative token id"),
        ([[2**70]], "prompt 0: expected a list of token ids"),
    ],
)
def test_what_is_no_prompt_never_reaches_the_graph(decoder, prompts, message):
    with pytest.raises(InputError, match=message):
        rows(decoder, prompts)


def test_options_that_do_not_fit_the_model_are_refused(decoder):
    with pytest.raises(UsageError, match="forced_bos_id 16: the model has 16 tokens"):
        rows(decoder, [[1]], GenerationOptions(forced_bos_id=16))


def test_a_cache_that_fits_no_memory_is_a_typed_error():
    with pytest.raises(HostError, match="no memory for a buffer"):
        Buffer("float32", 2**60)


def test_a_closed_model_says_so(graphs):
    prefill, decode = tiny_decoder()
    decode.close()
    with pytest.raises(UsageError, match="closed"):
        rows(Decoder(prefill, decode, pad_id=0, max_positions=0), [[1]])


def test_a_failure_in_the_graph_is_a_typed_error(graphs):
    """A graph that gives another shape than its manifest says."""
    prefill, _ = graphs
    outputs = tuple(dataclasses.replace(t, shape=(*t.shape[:-1], t.shape[-1] + 1)) for t in prefill.outputs)
    lying = Session(prefill._session, prefill.inputs, outputs, {})
    binding = lying.binding()
    for tensor in lying.inputs:
        binding.input(tensor.name, Buffer(tensor.dtype, 1), (1, 1))
    for tensor in lying.outputs:
        shape = tuple(1 if isinstance(size, str) else size for size in tensor.shape)
        binding.output(tensor.name, Buffer(tensor.dtype, 99), shape)
    with pytest.raises((HostError, InputError), match="onnxruntime"):
        binding.run()


def test_graphs_that_are_no_pair_are_refused(graphs):
    prefill, decode = graphs
    with pytest.raises(IntegrityError, match=r"prefill: its outputs are .*expected"):
        Decoder(Session(prefill._session, prefill.inputs, prefill.outputs[:1], {}), decode, pad_id=0, max_positions=0)
    logits = Tensor("logits", "float32", ("batch", "sequence", "vocabulary"))
    free = Session(prefill._session, prefill.inputs, (logits, *prefill.outputs[1:]), {})
    with pytest.raises(IntegrityError, match="logits: the last size is free"):
        Decoder(free, decode, pad_id=0, max_positions=0)


def test_a_binding_takes_only_what_the_graph_declares(graphs):
    binding = graphs[1].binding()
    with pytest.raises(InputError, match="the graph has no input nothing"):
        binding.input("nothing", Buffer("int64", 1), (1, 1))
    with pytest.raises(InputError, match="input input_ids: expected int64, got float32"):
        binding.input("input_ids", Buffer("float32", 1), (1, 1))
    for shape in [(1,), (1, 2), (2, 1), (0, 1)]:
        with pytest.raises(InputError, match=r"input input_ids: shape .* does not fit"):
            binding.input("input_ids", Buffer("int64", 1), shape)
    with pytest.raises(InputError, match="not bound: attention_mask, input_ids"):
        binding.run()
