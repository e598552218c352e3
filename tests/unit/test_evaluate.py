"""Judging, with models made of numpy: each fault fails its own check, each doubt is unproven."""

import types

import numpy as np
import pytest

from edgekit.errors import DataError, ExportError
from edgekit.spec.parity import BUDGETS
from edgekit.stages.data import Dataset, builtin_texts, paraphrases
from edgekit.stages.evaluate import ask, check_export, evaluate
from edgekit.stages.families.embedding import EmbeddingReference
from edgekit.stages.reference import Case
from edgekit.stages.vectors import neighbours

INT8 = BUDGETS["vectors"]["int8"]


class Fake:
    """Vectors from a hash of the text, or of its last number for texts that mean the same."""

    columns = ("text",)

    def __init__(self, change=lambda vectors, size: vectors):
        self.change = change

    def raw(self, inputs, *, batch_size=32):
        vectors = np.stack([self._vector(item["text"]) for item in inputs])
        return [{"embedding": row} for row in self.change(vectors, batch_size).astype(np.float32)]

    def cases(self, rows):
        return [Case({"text": row["text"]}, len(row["text"].split()) + 2) for row in rows]

    def doubts(self, cases, raw):
        return []

    @staticmethod
    def _vector(text):
        seed = sum(ord(letter) * 31**place for place, letter in enumerate(text.split()[-1])) % 2**32
        base = np.random.default_rng(seed).normal(size=64)
        own = np.random.default_rng(len(text)).normal(size=64)
        vector = base + 0.1 * own
        return vector / np.linalg.norm(vector)


def dataset(count=300):
    rows = tuple({"text": f"some ordinary words about subject number {i}"} for i in range(count))
    return Dataset("fake", "0" * 64, (), rows)


def asked(count=100, change=None):
    return ask(Fake(change) if change else Fake(), dataset(count), samples_min=100)


def judged(change, *, budget=INT8):
    return evaluate(Fake(change), asked(), budget, [])


def noise(level):
    random = np.random.default_rng(0)
    return lambda vectors, size: vectors + level * random.normal(size=vectors.shape)


def test_the_same_answers_pass():
    parity = judged(lambda vectors, size: vectors, budget=BUDGETS["vectors"]["float32"])
    assert parity.verdict == "pass"
    assert parity.check("nearest-neighbour agreement").interval.estimate == 1


@pytest.mark.parametrize(
    ("change", "check"),
    [
        (noise(0.05), "mean cosine"),
        (noise(0.05), "nearest-neighbour agreement"),
        (lambda vectors, size: vectors * 5, "length deviation"),
        (lambda vectors, size: vectors + (size > 1) * 0.05, "worst cosine alone against in a batch"),
        (lambda vectors, size: np.roll(vectors, 1, axis=1), "mean cosine"),
        (lambda vectors, size: np.ones_like(vectors), "mean cosine"),
    ],
)
def test_a_fault_fails_its_check(change, check):
    parity = judged(change)
    assert parity.verdict == "fail"
    assert not parity.check(check).passed


@pytest.mark.parametrize(
    "change",
    [lambda vectors, size: vectors * np.nan, lambda vectors, size: vectors[:, :32]],
)
def test_broken_answers_fail(change):
    assert judged(change).verdict == "fail"


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        (asked(10), "10 inputs to judge on"),
        (asked(change=lambda vectors, size: np.ones_like(vectors)), "nearly the same to every input"),
        (asked(change=lambda vectors, size: vectors * np.nan), "NaN"),
    ],
)
def test_a_reference_that_proves_nothing_is_a_doubt_and_never_a_pass(answers, reason):
    assert reason in answers.doubts[0]
    parity = evaluate(Fake(), answers, INT8, [])
    assert parity.verdict in ("unproven", "fail")


def embedding_reference(embed):
    model = types.SimpleNamespace(encode=lambda texts, **_: embed(texts))
    return EmbeddingReference("feature-extraction", model, None, 128, b"")


def test_a_reference_that_cannot_tell_a_paraphrase_is_at_chance_level():
    random = embedding_reference(lambda texts: np.random.default_rng(0).normal(size=(len(texts), 8)))
    assert "chance level" in random.doubts([Case({"text": "ordinary words"}, 4)], [])[0]


def test_random_texts_are_a_doubt():
    random = np.random.default_rng(0)
    letters = ["".join(chr(97 + c) for c in random.integers(0, 26, 40)) for _ in range(200)]
    cases = [Case({"text": text}, len(text) // 2 + 2) for text in letters]
    assert "look random" in embedding_reference(None).doubts(cases, [])[0]


def test_data_without_rows_to_judge_on_is_refused():
    with pytest.raises(DataError, match="nothing to judge on"):
        ask(Fake(), Dataset("empty", "0" * 64, (), ()), samples_min=1)


def test_neighbours_are_sought_in_groups_and_never_oneself():
    vectors = np.random.default_rng(0).normal(size=(450, 16)).astype(np.float32)
    found = neighbours(vectors)
    assert (found != np.arange(450)).all()
    assert (found // 200 == np.arange(450) // 200).all()


def test_an_export_off_by_more_than_rounding_is_refused():
    check_export(Fake(), asked())
    with pytest.raises(ExportError, match="differs from the original"):
        check_export(Fake(noise(1e-4)), asked())
    with pytest.raises(ExportError):
        check_export(Fake(lambda vectors, size: vectors * np.nan), asked())


def test_the_builtin_data_is_disjoint_and_large_enough():
    data = builtin_texts()
    calibration, judged = ({row["text"] for row in rows} for rows in (data.calibration, data.judged))
    assert len(calibration) == 200
    assert len(judged) >= 800
    assert not calibration & judged
    assert len(paraphrases()) >= 60
