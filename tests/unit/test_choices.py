"""What masked words, candidate labels and ranked documents are chosen from: hand-made logits."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edgekit.errors import InputError, UsageError
from edgekit.runtime.answers import sigmoid, softmax
from edgekit.runtime.masks import as_fillings, best_tokens
from edgekit.runtime.ranking import activate, rank_documents
from edgekit.runtime.zero_shot import as_result, by_embedding, by_entailment, hypotheses, read_labels

NAMES = ["[CLS]", "cat", "dog", "sat", "[MASK]"]
finite = st.floats(-50, 50)


def text_of(ids):
    return " ".join(NAMES[number] for number in ids)


def test_masks_are_filled_with_the_likeliest_tokens():
    logits = np.array([[0, 3, 2, 1, 0]], np.float32)
    (chosen,) = best_tokens(logits, top_k=2)
    fillings = as_fillings([0, 4, 3], 1, chosen, text_of, text_of)
    assert [filling["token_str"] for filling in fillings] == ["cat", "dog"]
    assert fillings[0]["sequence"] == "[CLS] cat sat"
    assert fillings[0]["score"] == pytest.approx(np.exp(3) / np.exp([0, 3, 2, 1, 0]).sum())


def test_each_mask_is_filled_by_itself():
    rows = best_tokens(np.eye(5)[[1, 2]], top_k=1)
    assert [row[0][0] for row in rows] == [1, 2]


def test_targets_keep_their_probability_among_all_tokens():
    logits = np.array([[0, 3, 2, 1, 0]])
    (chosen,) = best_tokens(logits, top_k=5, targets=[3, 2])
    assert [token for token, _ in chosen] == [2, 3]
    assert chosen[0][1] == pytest.approx(softmax(logits)[0, 2])


@pytest.mark.parametrize("top_k", [0, 6, -1, True, 1.0])
def test_a_number_of_fillings_that_makes_no_sense_is_refused(top_k):
    with pytest.raises(UsageError, match="top_k"):
        best_tokens(np.zeros((1, 5)), top_k=top_k)


@given(arrays.arrays(float, (2, 9), elements=finite), st.integers(1, 9))
def test_the_best_tokens_are_those_of_a_full_sort(logits, top_k):
    for row, chosen in zip(softmax(logits), best_tokens(logits, top_k=top_k), strict=True):
        assert [score for _, score in chosen] == sorted(row.tolist(), reverse=True)[:top_k]
        assert [row[token] for token, _ in chosen] == [score for _, score in chosen]


def test_labels_are_a_list_or_commas():
    assert read_labels(" red, green ,,blue") == ["red", "green", "blue"]
    assert read_labels(("a, b", "c")) == ["a, b", "c"]
    for nothing in ("", " , ", []):
        with pytest.raises(InputError, match="at least one"):
            read_labels(nothing)
    for wrong in (None, 3, ["a", 3]):
        with pytest.raises(InputError, match="candidate_labels"):
            read_labels(wrong)


def test_templates_need_a_place_for_the_label():
    assert hypotheses(["sport"], "It is about {}.") == ["It is about sport."]
    for wrong in ("no place", "{} and {}", "{name}", "{", "{0.real.nothing}", 3):
        with pytest.raises(UsageError, match="hypothesis_template"):
            hypotheses(["sport"], wrong)


NLI = np.array([[1.0, 0.0, 3.0], [2.0, 0.0, 1.0]])  # contradiction, neutral, entailment


def test_labels_share_one_probability():
    scores = by_entailment(NLI, 2, multi_label=False)
    assert scores == pytest.approx(softmax(np.array([3.0, 1.0])))
    assert scores.sum() == pytest.approx(1)


def test_labels_by_themselves_are_weighed_against_contradiction():
    assert by_entailment(NLI, 2, multi_label=True) == pytest.approx(sigmoid(np.array([2.0, -1.0])))
    assert by_entailment(NLI[:1], 2, multi_label=False) == pytest.approx(sigmoid(np.array([2.0])))
    first = NLI[:, ::-1]  # entailment first: contradiction is last
    assert by_entailment(first, 0, multi_label=True) == pytest.approx(sigmoid(np.array([2.0, -1.0])))


def test_results_are_sorted():
    assert as_result("text", ["a", "b", "c"], np.array([0.2, 0.5, 0.3])) == {
        "sequence": "text", "labels": ["b", "c", "a"], "scores": [0.5, 0.3, 0.2]
    }  # fmt: skip


def test_embeddings_rank_labels_by_cosine():
    text, labels = np.array([1.0, 0.0]), np.array([[2.0, 0.0], [0.0, 3.0], [-1.0, 0.0]])
    assert by_embedding(text, labels, multi_label=True).tolist() == [1, 0, 0]
    assert by_embedding(text, labels, multi_label=False) == pytest.approx(softmax(np.array([20.0, 0.0, -20.0])))
    assert by_embedding(text, labels[:1], multi_label=False).tolist() == [1]
    assert np.isfinite(by_embedding(np.zeros(2), labels, multi_label=False)).all()


@given(arrays.arrays(float, (4, 3), elements=finite), st.integers(0, 2), st.booleans())
def test_scores_are_probabilities(logits, entailment, multi_label):
    scores = by_entailment(logits, entailment, multi_label=multi_label)
    assert scores.shape == (4,)
    assert ((scores >= 0) & (scores <= 1)).all()
    assert multi_label or scores.sum() == pytest.approx(1)


def test_documents_are_ranked():
    scores = activate(np.array([[0.0], [2.0], [-1.0], [2.0]]), "sigmoid")
    assert scores.dtype == np.float32
    ranked = rank_documents(scores, top_k=3, documents=["a", "b", "c", "d"])
    assert [item["corpus_id"] for item in ranked] == [1, 3, 0]
    assert ranked[2] == {"corpus_id": 0, "score": 0.5, "text": "a"}
    assert "text" not in rank_documents(scores)[0]
    assert len(rank_documents(scores, top_k=9)) == 4


def test_activations():
    logits = np.array([[1.0, 3.0]])
    assert activate(logits, "softmax") == pytest.approx(softmax(logits))
    assert activate(logits, "none").tolist() == [[1, 3]]
    assert activate(logits[:, :1], "none").tolist() == [1]
    assert activate(logits, "tanh") == pytest.approx(np.tanh(logits))
    with pytest.raises(UsageError, match="relu"):
        activate(logits, "relu")


@pytest.mark.parametrize("top_k", [0, -1, True, 1.5])
def test_a_number_of_documents_that_makes_no_sense_is_refused(top_k):
    with pytest.raises(UsageError, match="top_k"):
        rank_documents(np.zeros(3), top_k=top_k)


@given(arrays.arrays(float, 6, elements=st.floats(-1e4, 1e4)))
def test_probabilities_never_overflow(logits):
    for scores in (softmax(logits), sigmoid(logits)):
        assert np.isfinite(scores).all()
        assert ((scores >= 0) & (scores <= 1)).all()
