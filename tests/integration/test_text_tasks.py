"""Text tasks answer as transformers' pipelines do, on the same inputs, from bundles built of tiny random models."""

import json
import warnings
from functools import cache

import numpy as np
import pytest

from edgekit.cli import main
from edgekit.errors import InputError
from edgekit.stages.quiet import quiet

from .text_bundles import QUESTIONS, TEXTS

pytestmark = pytest.mark.export


def original(task, checkpoint):
    with quiet():
        from transformers import pipeline as transformers_pipeline

        return transformers_pipeline(task, str(checkpoint), device="cpu")


def same(found, expected):
    """The same shape, labels, words and places; scores within 1e-4."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key in expected:
            same(found[key], expected[key])
    elif isinstance(expected, list | tuple):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            same(one, other)
    elif isinstance(expected, float | np.floating):
        assert isinstance(found, float)
        assert found == pytest.approx(float(expected), abs=1e-4)
    else:
        assert found == expected


def test_text_classification(made):
    checkpoint, ours = made("text-classification")
    theirs = original("text-classification", checkpoint)
    short = TEXTS[:4]
    pair = {"text": "the cat", "text_pair": "sat on the mat"}
    for inputs in (short, short[0], short[:1], "", [""], pair, [pair, {"text": "a mat"}]):
        for options in ({}, {"top_k": 1}, {"top_k": 2}, {"top_k": None}, {"function_to_apply": "softmax"},
                        {"top_k": None, "function_to_apply": "none"}):  # fmt: skip
            same(ours(inputs, **options), theirs(inputs, **options))
    same(ours(TEXTS[4], top_k=None), theirs(TEXTS[4], top_k=None, truncation=True))
    same(ours(short, batch_size=4, top_k=None), theirs(short, top_k=None))


@pytest.mark.parametrize("kind", ["bert", pytest.param("roberta", marks=pytest.mark.long)])
def test_token_classification(made, kind):
    checkpoint, ours = made("token-classification", kind)
    theirs = original("token-classification", checkpoint)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # "Tokenizer does not support real words"
        for strategy in ("none", "simple", "first", "average", "max"):
            options = {"aggregation_strategy": strategy}
            same(ours(TEXTS, **options), theirs(TEXTS, **options))
            same(ours(TEXTS, batch_size=3, **options), theirs(TEXTS, **options))
            same(ours(TEXTS[0], **options), theirs(TEXTS[0], **options))
            same(ours("", **options), theirs("", **options))
            same(ours(TEXTS, ignore_labels=["B-PER", "O"], **options),
                 theirs(TEXTS, ignore_labels=["B-PER", "O"], **options))  # fmt: skip
        options = {"aggregation_strategy": "simple", "stride": 8}
        same(ours(TEXTS, **options), theirs(TEXTS, **options))


def test_fill_mask(made):
    checkpoint, ours = made("fill-mask")
    theirs = original("fill-mask", checkpoint)
    one, two = "The [MASK] sat on the mat.", "The [MASK] sat, it's [MASK] n't old."
    for inputs in (one, [one], [one, two], two):
        for options in ({}, {"top_k": 2}, {"targets": "cat"}, {"targets": ["cat", "dog", "mat"], "top_k": 2}):
            same(ours(inputs, **options), theirs(inputs, **options))
    same(ours(one + " old" * 99), theirs(one + " old" * 99, tokenizer_kwargs={"truncation": True}))
    with pytest.raises(InputError, match=r"input 1: has no \[MASK\]"):
        ours([one, "no mask"])
    with pytest.raises(InputError, match="1 of 2 masks stand within 64 tokens"):
        ours(one + " old" * 99 + " [MASK]")


def test_zero_shot_classification(made):
    checkpoint, ours = made("zero-shot-classification")
    theirs = original("zero-shot-classification", checkpoint)
    labels = ["travel", "animals", "old things, and new"]
    for inputs in (TEXTS, TEXTS[0], TEXTS[:1]):
        for options in ({}, {"multi_label": True}, {"hypothesis_template": "It is about {}!"}):
            same(ours(inputs, labels, **options), theirs(inputs, labels, **options))
        same(ours(inputs, candidate_labels="travel, animals"), theirs(inputs, candidate_labels="travel, animals"))
        same(ours(inputs, "travel"), theirs(inputs, "travel"))
    same(ours(TEXTS, labels, batch_size=7), theirs(TEXTS, labels))


def test_text_ranking(made):
    checkpoint, ours = made("text-ranking")
    with quiet():
        from sentence_transformers import CrossEncoder

        theirs = CrossEncoder(str(checkpoint), device="cpu")
    for query in ("the cat", "", TEXTS[4]):
        for options in ({}, {"top_k": 2}, {"return_documents": True}):
            same(ours.rank(query, TEXTS, **options), theirs.rank(query, TEXTS, **options))
    assert ours(["the cat"], TEXTS) == [ours("the cat", TEXTS)]
    assert ours({"query": "the cat", "documents": TEXTS}) == ours("the cat", TEXTS)
    pairs = [("the cat", text) for text in TEXTS]
    assert ours.predict(pairs) == pytest.approx(theirs.predict(pairs), abs=1e-4)
    assert float(ours.predict(pairs[0])) == pytest.approx(float(theirs.predict(pairs[0])), abs=1e-4)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"top_k": 4},
        {"max_answer_len": 2},
        {"handle_impossible_answer": True, "top_k": 3},
        {"doc_stride": 4, "max_seq_len": 40, "top_k": 2},
        {"align_to_words": False, "top_k": 3},
    ],
)
def test_question_answering(made, options):
    checkpoint, ours = made("question-answering")
    expected = [answer_plainly(*loaded(checkpoint), **question, **options) for question in QUESTIONS]
    same([ours(**question, **options) for question in QUESTIONS], expected)
    same(ours(QUESTIONS, batch_size=4, **options), expected)
    same(ours(question=[item["question"] for item in QUESTIONS], context=QUESTIONS[0]["context"], **options)[0],
         expected[0])  # fmt: skip


@cache
def loaded(checkpoint):
    with quiet():
        from transformers import AutoModelForQuestionAnswering, AutoTokenizer

        return AutoTokenizer.from_pretrained(checkpoint), AutoModelForQuestionAnswering.from_pretrained(checkpoint)


def answer_plainly(
    tokenizer, model, question, context, *, top_k=1, max_answer_len=15, max_seq_len=64, doc_stride=32,
    handle_impossible_answer=False, align_to_words=True,
):  # fmt: skip
    """The method of transformers 4's pipeline as it is documented, span by span."""
    import torch

    batch = tokenizer(
        question, context, truncation="only_second", max_length=max_seq_len, stride=doc_stride,
        return_overflowing_tokens=True, return_offsets_mapping=True,
    )  # fmt: skip
    scores, nothing = {}, 1.0
    for window in range(len(batch["input_ids"])):
        ids, owners = batch["input_ids"][window], batch.sequence_ids(window)
        with torch.inference_mode():
            found = model(input_ids=torch.tensor([ids]))
        allowed = torch.tensor([
            owner == 1 or number == tokenizer.cls_token_id for owner, number in zip(owners, ids, strict=True)
        ])  # fmt: skip
        start, end = (
            torch.softmax(torch.where(allowed, logits[0], torch.tensor(-1e4)), 0)
            for logits in (found.start_logits, found.end_logits)
        )
        nothing = min(nothing, float(start[0] * end[0]))
        spans = [
            (float(start[first] * end[last]), first, last)
            for first in range(len(ids))
            for last in range(first, min(first + max_answer_len, len(ids)))
            if owners[first] == owners[last] == 1
        ]
        taken = sorted(spans, key=lambda span: -span[0])[: top_k * 2 + 10 if align_to_words else top_k]
        for score, first, last in taken:
            begin, behind = batch["offset_mapping"][window][first][0], batch["offset_mapping"][window][last][1]
            if align_to_words:
                words = batch.word_ids(window)
                inside = [place for place, owner in enumerate(owners) if owner == 1]
                begin = next(
                    batch["offset_mapping"][window][place][0] for place in inside if words[place] == words[first]
                )
                behind = [batch["offset_mapping"][window][place][1] for place in inside if words[place] == words[last]][
                    -1
                ]
            text = context[begin:behind]
            before = scores.get(text.lower())
            scores[text.lower()] = (
                {"score": score, "start": begin, "end": behind, "answer": text}
                if before is None
                else before | {"score": before["score"] + score}
            )
    answers = list(scores.values())
    if handle_impossible_answer:
        answers.append({"score": nothing, "start": 0, "end": 0, "answer": ""})
    best = sorted(answers, key=lambda answer: -answer["score"])[:top_k]
    return best[0] if len(best) == 1 else best


def test_wrong_inputs_are_typed_errors(made):
    _, ours = made("question-answering")
    for inputs in (
        {"question": "who"},
        {"question": "who", "context": ""},
        {"question": 3, "context": "a"},
        "who",
        None,
    ):
        with pytest.raises(InputError):
            ours(inputs)
    with pytest.raises(InputError, match="leave no room"):
        ours("cat " * 80, "the mat")


RUN = {
    "text-classification": (TEXTS[0], {"top_k": 2}),
    "token-classification": (TEXTS[0], {"aggregation_strategy": "simple"}),
    "fill-mask": ("The [MASK] sat.", {"top_k": 2}),
    "zero-shot-classification": (TEXTS[1], {"candidate_labels": ["travel", "animals"]}),
    "question-answering": (QUESTIONS[0], {"top_k": 2}),
    "text-ranking": ({"query": "the cat", "documents": TEXTS[:3]}, {"return_documents": True}),
}


@pytest.mark.parametrize("task", RUN)
def test_run_answers_from_the_command_line_what_the_object_answers(made, task, capsys):
    checkpoint, ours = made(task)
    asked, options = RUN[task]
    words = asked if isinstance(asked, str) else json.dumps(asked)
    flags = [flag for name, value in options.items() for flag in ("--set", f"{name}={json.dumps(value)}")]
    command = ["run", f"{checkpoint}.bundle", words, *flags]
    assert main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["answers"] == [ours(asked, **options)]
    assert main(command) == 0
    assert f"{task} by fp32" in capsys.readouterr().out
