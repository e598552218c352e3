import sys
from pathlib import Path

import numpy as np
import pytest

from edgekit.errors import InputError, UsageError
from edgekit.runtime import Generator, Seq2Seq, load, pipeline
from edgekit.runtime.sampling import GenerationOptions

from .tiny_decoder import expected
from .tiny_generator import MAX_LENGTH, continued, ids, words, write_generator, write_seq2seq


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_generator(tmp_path_factory.mktemp("generator") / "bundle", chat_template="text/chat.jinja")


@pytest.fixture(scope="module")
def generator(path):
    with load(path) as model:
        assert isinstance(model, Generator)
        yield model


def test_a_text_is_continued(generator):
    answer = generator("w3 w4", max_new_tokens=5)
    assert answer == [{"generated_text": "w3 w4" + continued("w3 w4", 5)}]
    assert generator("w3 w4", return_full_text=False) == [{"generated_text": continued("w3 w4", 8)}]


@pytest.mark.parametrize("batch_size", [1, 3])
def test_texts_are_answered_in_their_order_whatever_the_batch(generator, batch_size):
    texts = ["w3 w4", "w5", "w6 w7 w8", "w3 w4"]
    answers = generator(texts, batch_size=batch_size, return_full_text=False)
    assert answers == [[{"generated_text": continued(text, 8)}] for text in texts]
    assert generator([]) == []


def test_the_stream_joined_is_the_answer(generator):
    pieces = list(generator.stream("w3 w4", max_new_tokens=9))
    assert "".join(pieces) == continued("w3 w4", 9)
    assert len(pieces) > 4


def test_stop_strings_end_the_text_and_stay_in_it(generator):
    whole = continued("w3 w4", 8).split()
    stop = whole[3]
    first = whole.index(stop)
    want = " ".join(whole[: first + 1])
    assert generator("w3 w4", stop_strings=stop, return_full_text=False) == [{"generated_text": want}]
    assert "".join(generator.stream("w3 w4", stop_strings=[stop])) == want
    both = generator(["w3 w4", "w5"], stop_strings=[stop], return_full_text=False, batch_size=2)
    assert both[0] == [{"generated_text": want}]


def test_the_end_token_ends_the_text(tmp_path):
    new = expected(ids("w3 w4"), 8)
    end = next(number for number in new if number > 2)
    with load(write_generator(tmp_path / "bundle", eos_ids=(end,))) as model:
        assert model("w3 w4", return_full_text=False) == [{"generated_text": words(new[: new.index(end) + 1])}]


def test_sampling_follows_its_seed(generator):
    options = {"do_sample": True, "temperature": 9.0, "return_full_text": False, "max_new_tokens": 16}
    first = generator("w3", seed=1, **options)
    assert first == generator("w3", seed=1, **options)
    assert first != generator("w3", seed=2, **options)
    several = generator("w3", seed=1, num_return_sequences=3, **options)
    assert len({answer["generated_text"] for answer in several}) == 3


def test_a_chat_gives_its_messages_with_the_answer(generator):
    chat = [
        {"role": "user", "content": "w3"},
        {"role": "assistant", "content": "w4"},
        {"role": "user", "content": "w5"},
    ]
    new = continued("<s> w3 <s> w4 <s> w5 w15", 8)
    assert generator(chat) == [{"generated_text": [*chat, {"role": "assistant", "content": new}]}]
    assert generator([chat, chat]) == [[{"generated_text": [*chat, {"role": "assistant", "content": new}]}]] * 2
    assert generator(chat, return_full_text=False) == [{"generated_text": new}]
    assert "".join(generator.stream(chat)) == new


def test_a_chat_that_ends_with_the_assistant_is_continued(generator):
    chat = [{"role": "user", "content": "w3"}, {"role": "assistant", "content": "w4"}]
    new = continued("<s> w3 <s> w4", 8)
    assert generator(chat) == [{"generated_text": [chat[0], {"role": "assistant", "content": "w4" + new}]}]
    answered = generator(chat, continue_final_message=False)[0]["generated_text"]
    assert answered == [*chat, {"role": "assistant", "content": continued("<s> w3 <s> w4 w15", 8)}]


def test_a_model_without_a_chat_template_takes_no_chats(tmp_path):
    with load(write_generator(tmp_path / "bundle")) as model, pytest.raises(InputError, match="no chat template"):
        model([{"role": "user", "content": "w3"}])


def test_an_empty_text_begins_with_the_token_for_it(generator, tmp_path):
    assert generator("") == [{"generated_text": continued("<s>", 8)}]
    bare = write_generator(tmp_path / "bundle", bos_id=None)
    with load(bare) as model, pytest.raises(InputError, match="no token to begin with"):
        model("")


def test_a_prompt_that_leaves_no_room_says_how_much_there_is(generator):
    with pytest.raises(InputError, match=f"more than {MAX_LENGTH} tokens"):
        generator(["w3", "w3 " * (MAX_LENGTH + 1)])
    with pytest.raises(InputError, match=f"has {MAX_LENGTH} tokens, this model takes at most {MAX_LENGTH - 1}"):
        generator("w3 " * MAX_LENGTH)
    long = "w3 " * (MAX_LENGTH - 2)
    assert generator(long, return_full_text=False) == [{"generated_text": continued(long, 2)}]


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (3, "expected a text, a chat or a list"),
        (["w3", 4], "text 1: expected a str or a list of messages"),
        (["w3", b"w4"], "text 1"),
        ([{"role": "user"}], 'expected an object with "role" and "content"'),
        ("\ud800", "lone surrogate"),
    ],
)
def test_what_is_no_text_never_reaches_the_graph(generator, inputs, message):
    with pytest.raises(InputError, match=message):
        generator(inputs)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens 0: expected an integer, 1 to"),
        ({"top_p": 2}, "top_p 2: expected a number, 0 to 1"),
        ({"batch_size": 0}, "batch_size 0"),
        ({"num_return_sequences": 0}, "num_return_sequences 0"),
        ({"num_return_sequences": 2}, "the same text again"),
        ({"stop_strings": [""]}, "stop_strings"),
    ],
)
def test_options_that_make_no_sense_are_refused(generator, options, message):
    with pytest.raises(UsageError, match=message):
        generator("w3", **options)


def test_a_stream_is_checked_before_its_first_piece(generator):
    with pytest.raises(UsageError, match="temperature"):
        generator.stream("w3", temperature=-1.0)
    with pytest.raises(InputError, match="more than"):
        generator.stream("w3 " * 99)
    with pytest.raises(InputError, match="takes at most"):
        generator.stream("w3 " * MAX_LENGTH)


def test_raw_answers_are_the_logits_of_the_next_tokens(generator):
    texts = ["w3 w4 w5 w6 w7 w8", "w3 w4 w5", "w3", ""]
    for batch_size in (1, 4):
        raws = generator.raw([{"text": text} for text in texts], batch_size=batch_size)
        for text, raw in zip(texts, raws, strict=True):
            row = ids(text) or [1]
            known = row[:-1] or row
            nexts = [expected(row[: place + 1], 1)[0] for place in range(len(known))][-4:]
            assert raw["logits"].argmax(axis=-1).tolist() == nexts
            assert raw["logits"].dtype == np.float32


def test_raw_answers_for_a_target_are_those_of_its_tokens(generator):
    [raw] = generator.raw([{"text": "w3 w4 w5", "target": "w6 w7"}])
    row = ids("w3 w4 w5 w6 w7")
    assert raw["logits"].argmax(axis=-1).tolist() == [expected(row[:3], 1)[0], expected(row[:4], 1)[0]]


def test_a_closed_model_says_so(path):
    model = load(path)
    model.close()
    with pytest.raises(UsageError, match="closed"):
        model("w3")


@pytest.fixture(scope="module")
def seq2seq_path(tmp_path_factory):
    prefixes = {"summarization": "w9 ", "translation_en_to_fr": "w10 "}
    return write_seq2seq(
        tmp_path_factory.mktemp("seq2seq") / "bundle", prefixes=prefixes, max_length=6, max_new_tokens=None
    )


@pytest.fixture(scope="module")
def seq2seq(seq2seq_path):
    with load(seq2seq_path) as model:
        assert isinstance(model, Seq2Seq)
        yield model


def written(text, count=5):
    return continued("<pad>", count, encoder=sum(ids(text)))


def test_a_text_is_written_for_each_text(seq2seq):
    assert seq2seq("w3 w4") == [{"generated_text": written("w3 w4")}]
    for batch_size in (1, 2):
        answers = seq2seq(["w3 w4", "w5", "w6 w7"], batch_size=batch_size)
        assert answers == [{"generated_text": written(text)} for text in ("w3 w4", "w5", "w6 w7")]
    assert "".join(seq2seq.stream("w3 w4", max_new_tokens=9)) == written("w3 w4", 9)


def test_several_texts_are_a_list_of_them(seq2seq):
    options = {"do_sample": True, "seed": 1, "temperature": 9.0}
    answers = seq2seq(["w3", "w4"], num_return_sequences=2, **options)
    assert [[list(answer) for answer in several] for several in answers] == [[["generated_text"]] * 2] * 2
    assert answers[0][0] != answers[0][1]


@pytest.mark.parametrize(
    ("task", "key", "read"),
    [
        ("summarization", "summary_text", "w9 w3"),
        ("translation_en_to_fr", "translation_text", "w10 w3"),
        ("translation", "translation_text", "w3"),
        ("text2text-generation", "generated_text", "w3"),
    ],
)
def test_the_task_names_the_result_and_the_prefix(seq2seq_path, task, key, read):
    with pipeline(task, seq2seq_path) as model:
        assert model("w3") == [{key: written(read)}]


def test_a_long_text_is_refused_or_cut(seq2seq):
    long = "w3 " * (MAX_LENGTH + 1)
    with pytest.raises(InputError, match=f"more than {MAX_LENGTH} tokens"):
        seq2seq(long)
    assert seq2seq(long, truncation=True) == [{"generated_text": written("w3 " * MAX_LENGTH)}]
    with pytest.raises(InputError, match="text 1: has no tokens"):
        seq2seq(["w3", ""])
    with pytest.raises(InputError, match="text 1: expected a str, got int"):
        seq2seq(["w3", 3])


def test_raw_answers_of_an_encoder_decoder(seq2seq):
    [own, other] = seq2seq.raw([{"text": "w3 w4 w5"}, {"text": "w3", "target": "w6 w7"}])
    rows = [[0, *ids("w3 w4")], [0, *ids("w6")]]
    for raw, row, encoder in ((own, rows[0], sum(ids("w3 w4 w5"))), (other, rows[1], 3)):
        nexts = [expected(row[: place + 1], 1, encoder=encoder)[0] for place in range(len(row))]
        assert raw["logits"].argmax(axis=-1).tolist() == nexts


@pytest.mark.skipif(sys.platform != "linux", reason="resident memory is read from /proc")
def test_memory_beyond_the_cache_does_not_grow_with_the_tokens(tmp_path):
    """ONNX Runtime would keep a plan of its memory for every length: 2 kB and more for each token."""
    steps_between, cache_bytes = 3000, 2 * 2 * 4  # keys and values of one float, each twice
    with load(write_generator(tmp_path / "bundle", max_positions=0)) as model:
        steps = model._writer.decoder.steps([[3]], GenerationOptions(max_new_tokens=4000))
        resident = []
        for count, _ in enumerate(steps):
            if count in (500, 500 + steps_between):
                resident.append(int(Path("/proc/self/statm").read_text().split()[1]) * 4096)
        assert resident[1] - resident[0] < steps_between * (cache_bytes + 200)
