"""What the references of text tasks ask for rows of data, and which answers they take to be right."""

import json
from pathlib import Path

import numpy as np
import pytest

from edgekit.errors import CheckpointError, DataError, ExportError
from edgekit.spec.manifest import Source
from edgekit.stages import names
from edgekit.stages.fetch import Checkpoint
from edgekit.stages.reference import load_reference

from . import text_checkpoints

pytestmark = pytest.mark.export

NLI = ("contradiction", "neutral", "entailment")
MODELS = {
    "text-classification": ("AutoModelForSequenceClassification", ("bad", "fine", "good"), {}),
    "several labels": ("AutoModelForSequenceClassification", ("bad", "fine", "good"),
                       {"problem_type": "multi_label_classification"}),
    "token-classification": ("AutoModelForTokenClassification", ("O", "B-PER", "I-PER", "B-LOC", "I-LOC"), {}),
    "fill-mask": ("AutoModelForMaskedLM", (), {}),
    "question-answering": ("AutoModelForQuestionAnswering", (), {}),
    "zero-shot-classification": ("AutoModelForSequenceClassification", NLI, {}),
    "text-ranking": ("AutoModelForSequenceClassification", ("score",), {}),
}  # fmt: skip


def checkpoint(folder: Path) -> Checkpoint:
    config = json.loads((folder / "config.json").read_text())
    source = Source("tiny", "1", "apache-2.0", config["architectures"][0], "0" * 64)
    return Checkpoint(folder, "tiny", source, config, None)


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    folder = tmp_path_factory.mktemp("references")
    loaded = {}

    def load(name):
        if name not in loaded:
            head, labels, config = MODELS[name]
            task = name if name in MODELS and name != "several labels" else "text-classification"
            made = text_checkpoints.write(folder / name.replace(" ", "-"), "bert", head, labels, **config)
            loaded[name] = load_reference(checkpoint(made), task, folder / "work")
        return loaded[name]

    return load


def words(reference, case):
    """The text of each judged token, special ones left out."""
    batch = reference.text.tokenizer(case.input["text"])
    return [
        token for token, owner in zip(batch.tokens(), batch.sequence_ids(0), strict=True) if owner == 0
    ]  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_answers_are_alike_in_any_batch_and_fit_their_truth(reference, name):
    model = reference(name)
    rows = list(model.builtin().judged[:6])
    model.builtin().require(model.columns)
    cases = model.cases(rows)
    inputs = [case.input for case in cases]
    for case, alone, together in zip(cases, model.raw(inputs, batch_size=1), model.raw(inputs), strict=True):
        assert case.size > 2
        for key, array in alone.items():
            np.testing.assert_allclose(array, together[key], atol=2e-5)
        for key, truth in case.truth.items():
            assert truth.dtype == np.int64
            rows_of = alone[key] if key == "flags" else np.atleast_2d(alone[key])
            assert truth.shape == (rows_of.shape if key == "flags" else rows_of.shape[:1])
            assert (truth < (2 if key == "flags" else rows_of.shape[-1])).all()
    assert len(model.feeds(inputs)["model"]) >= len(inputs)


def test_a_word_of_several_tokens_has_its_label_at_the_first(reference):
    model = reference("token-classification")
    row = {"text": "unfathomable Maria sat", "labels": '["O", "B-PER", "O"]'}
    (case,) = model.cases([row])
    tokens = words(model, case)
    truth = case.truth["logits"].tolist()
    assert [label for token, label in zip(tokens, truth, strict=True) if not token.startswith("##")] == [0, 1, 0]
    assert all(label == -1 for token, label in zip(tokens, truth, strict=True) if token.startswith("##"))
    assert model.cases([{"text": "a cat", "labels": "O O"}])[0].truth["logits"].tolist() == [0, 0]
    for labels, what in (("O", "1 labels for the 3 words"), ('["O",', "not JSON"), ("O O B-ORG", "'B-ORG' is none")):
        with pytest.raises(DataError, match=what):
            model.cases([row | {"labels": labels}])
    with pytest.raises(DataError, match="holds no token"):
        model.cases([{"text": "\u200b"}])


def test_a_word_is_masked_and_known(reference):
    model = reference("fill-mask")
    (case,) = model.cases([{"text": "The old cat sat on the mat."}])
    assert case.input["text"].count("[MASK]") == 1
    word = model.text.tokenizer.convert_ids_to_tokens(int(case.truth["logits"][0]))
    assert case.input["text"].replace("[MASK]", word).lower() == "the old cat sat on the mat."
    (given,) = model.cases([{"text": "The [MASK] sat.", "label": "cat"}])
    assert given.truth["logits"].tolist() == [model.text.tokenizer.convert_tokens_to_ids("cat")]
    assert not model.cases([{"text": "The [MASK] [MASK].", "label": "cat"}])[0].truth
    (long,) = model.cases([{"text": "The [MASK] sat. " * 40}])
    assert long.input["text"].count("[MASK]") == len(model.raw([long.input])[0]["logits"]) < 40
    assert not model.cases([{"text": "The [MASK] sat.", "label": "unfathomableness"}])[0].truth
    for text in ("3 + 4", "cat " * 90 + "[MASK]"):
        with pytest.raises(DataError, match="a row has no"):
            model.cases([{"text": text}])


def test_an_answer_in_the_context_is_the_right_one(reference):
    model = reference("question-answering")
    row = {"question": "who sat?", "context": "the old cat sat down", "answer": "old cat"}
    (case,) = model.cases([row])
    places = ["[CLS]", "the", "old", "cat", "sat", "down"]  # what may be an answer
    assert {key: places[int(value[0])] for key, value in case.truth.items()} == {
        "logits.start": "old",
        "logits.end": "cat",
    }
    assert model.raw([case.input])[0]["logits.start"].shape == (len(places),)
    for answer in ("", "a dog"):
        assert not model.cases([row | {"answer": answer}])[0].truth
    with pytest.raises(DataError, match="cannot be tokenized"):
        model.cases([row | {"question": "cat " * 90}])


def test_built_in_questions_are_answered_by_their_context(reference):
    rows = reference("question-answering").builtin().judged
    assert len(rows) > 20
    for row in rows:
        assert row["context"].count(row["answer"]) >= 1
        assert "what" in row["question"]


def test_queries_have_something_to_choose_from(reference):
    model = reference("text-ranking")
    rows = [
        {"query": "one", "document": "a", "label": "0"},
        {"query": "one", "document": "b", "label": "2"},
        {"query": "two", "document": "c"},
        {"query": "three", "document": "d", "label": "1"},
    ]
    one, two, three = model.cases(rows)
    assert all(len(case.input["documents"]) == 4 for case in (one, two, three))
    assert one.input["documents"][int(one.truth["logits"][0])] == "b"
    assert three.input["documents"][int(three.truth["logits"][0])] == "d"
    assert not two.truth
    with pytest.raises(DataError, match="nothing to choose from"):
        model.cases(rows[:1])
    with pytest.raises(DataError, match="label"):
        model.cases([rows[0] | {"label": "best"}, *rows[1:]])


def test_the_right_document_stands_in_no_preferred_place(reference):
    model = reference("text-ranking")
    cases = model.cases(model.builtin().judged)
    places = np.bincount([int(case.truth["logits"][0]) for case in cases])
    assert len(cases) == 160
    assert places.min() > 30


def test_candidates_come_from_the_row_or_from_all_labels(reference):
    model = reference("zero-shot-classification")
    rows = [{"text": "a cat", "label": "animals"}, {"text": "rome", "label": "cities"}]
    cases = model.cases(rows)
    assert [case.input["candidate_labels"] for case in cases] == [["animals", "cities"]] * 2
    assert [case.truth["logits"].tolist() for case in cases] == [[0], [1]]
    (own,) = model.cases([{"text": "a cat", "candidate_labels": "art, pets", "label": "pets"}])
    assert own.input["candidate_labels"] == ["art", "pets"]
    assert own.truth["logits"].tolist() == [1]
    assert len(model.cases([{"text": "a cat"}])[0].input["candidate_labels"]) > 2
    for row in ({"candidate_labels": "art"}, {"candidate_labels": '["art"', "label": "art"},
                {"candidate_labels": "art, pets", "label": "cars"}, {"label": "cars"}):  # fmt: skip
        with pytest.raises(DataError):
            model.cases([{"text": "a cat"} | row])


def test_labels_of_texts(reference):
    one, several = reference("text-classification"), reference("several labels")
    assert one.cases([{"text": "a", "label": "good"}])[0].truth["logits"].tolist() == [2]
    assert several.cases([{"text": "a", "label": "good, bad"}])[0].truth["flags"].tolist() == [1, 0, 1]
    assert several.cases([{"text": "a", "label": "[]"}])[0].truth["flags"].tolist() == [0, 0, 0]
    (pair,) = one.cases([{"text": "a cat", "text_pair": "a dog"}])
    assert pair.size == 7
    for rows in ([{"text": "a", "label": "great"}], [{"text": "a"}, {"text": "a", "text_pair": "b"}]):
        with pytest.raises(DataError):
            one.cases(rows)


@pytest.mark.parametrize("name", ["token-classification", "text-ranking", "zero-shot-classification"])
def test_random_weights_are_seen_to_know_nothing(reference, name):
    model = reference(name)
    if name == "token-classification":
        cases = [case for case in model.cases(model.builtin().judged[:40]) if case.truth]
        answers = model.raw([case.input for case in cases])
        right = [
            case.truth["logits"] == answer["logits"].argmax(axis=1) for case, answer in zip(cases, answers, strict=True)
        ]
        assert np.concatenate(right).mean() < 0.6
        return
    case = model.cases([{"text": "a cat", "query": "a", "document": "b"}, {"text": "b", "query": "c", "document": "d"}])
    (doubt,) = model.doubts(case, [])
    assert "chance level" in doubt


def test_models_that_lack_what_a_task_needs_are_refused(tmp_path):
    sequence = "AutoModelForSequenceClassification"
    plain = text_checkpoints.write(tmp_path / "plain", "bert", sequence, ("yes", "no"))
    with pytest.raises(ExportError, match="none says entailment"):
        load_reference(checkpoint(plain), "zero-shot-classification", tmp_path / "work")
    with pytest.raises(ExportError, match="2 labels"):
        load_reference(checkpoint(plain), "text-ranking", tmp_path / "work")
    for task in ("fill-mask", "question-answering"):
        with pytest.raises(CheckpointError, match="parameters the weights do not hold"):
            load_reference(checkpoint(plain), task, tmp_path / "work")


def test_kinds_of_names_find_the_models_own_labels():
    kinds = ["O", "B-PER", "I-PER", "B-LOC"]
    assert names.as_labels(kinds, ("O", "B-PER", "I-PER", "B-LOC")) == kinds
    assert names.as_labels(kinds, ("O", "I-PER", "I-LOC")) == ["O", "I-PER", "I-PER", "I-LOC"]
    assert names.as_labels(kinds, ("O", "PERSON", "GPE")) == ["O", "PERSON", "PERSON", "GPE"]
    assert names.as_labels(kinds, ("NOUN", "VERB")) is None
