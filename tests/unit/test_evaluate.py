"""Judging, with embedders made of numpy: each fault fails its own check, each doubt is unproven."""

import numpy as np
import pytest

from edgekit.errors import ExportError
from edgekit.spec.parity import BUDGETS
from edgekit.stages.data import Texts, Triplet, builtin_texts, paraphrases
from edgekit.stages.evaluate import ask, check_export, evaluate, neighbours

WORDS = 400
TRIPLETS = [Triplet(f"anchor {i}", f"same {i}", f"anchor {i + 1}") for i in range(40)]


class Fake:
    """Vectors from a hash of the text, or of its last number for texts that mean the same."""

    def __init__(self, change=lambda vectors, size: vectors):
        self.change = change

    def embed(self, texts, *, batch_size=32):
        vectors = np.stack([self._vector(text) for text in texts])
        return self.change(vectors, batch_size).astype(np.float32)

    @staticmethod
    def _vector(text):
        seed = sum(ord(letter) * 31**place for place, letter in enumerate(text.split()[-1])) % 2**32
        base = np.random.default_rng(seed).normal(size=64)
        own = np.random.default_rng(len(text)).normal(size=64)
        vector = base + 0.1 * own
        return vector / np.linalg.norm(vector)


def texts(count=300):
    return Texts("fake", "0" * 64, (), tuple(f"some ordinary words about subject number {i}" for i in range(count)))


def tokens(asked):
    return [len(text.split()) + 2 for text in asked]


def asked(count=100, embed=Fake().embed, data=None):
    return ask(embed, tokens, data or texts(count), TRIPLETS, samples_min=100)


def judged(change, *, budget=BUDGETS["int8"]):
    return evaluate(Fake(change), asked(), budget, [])


def noise(level):
    random = np.random.default_rng(0)
    return lambda vectors, size: vectors + level * random.normal(size=vectors.shape)


def test_the_same_answers_pass():
    parity = judged(lambda vectors, size: vectors, budget=BUDGETS["float32"])
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
        (asked(10), "10 texts to judge on"),
        (asked(embed=lambda texts: np.ones((len(texts), 8), np.float32)), "nearly the same to every text"),
        (asked(embed=lambda texts: np.full((len(texts), 8), np.nan, np.float32)), "NaN"),
        (
            asked(embed=lambda texts: np.random.default_rng(0).normal(size=(len(texts), 8)).astype(np.float32)),
            "chance level",
        ),
    ],
)
def test_a_reference_that_proves_nothing_is_a_doubt_and_never_a_pass(answers, reason):
    assert reason in answers.doubts[0]
    parity = evaluate(Fake(), answers, BUDGETS["int8"], [])
    assert parity.verdict in ("unproven", "fail")


def test_random_texts_are_a_doubt():
    random = np.random.default_rng(0)
    letters = tuple("".join(chr(97 + c) for c in random.integers(0, 26, 40)) for _ in range(200))
    answers = ask(
        Fake().embed,
        lambda asked: [len(text) // 2 + 2 for text in asked],
        Texts("random", "0" * 64, (), letters),
        TRIPLETS,
        samples_min=100,
    )
    assert "look random" in answers.doubts[0]


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
    assert len(data.calibration) == 200
    assert len(data.judged) >= 800
    assert not set(data.calibration) & set(data.judged)
    assert len(paraphrases()) >= 60
