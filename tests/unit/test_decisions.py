"""Judging decisions, with logits made of numpy."""

import numpy as np
import pytest

from edgekit.spec.parity import BUDGETS
from edgekit.stages.data import Dataset
from edgekit.stages.evaluate import ask, evaluate
from edgekit.stages.reference import Case

CHOICES = 5
BATCH = "worst agreement alone against in a batch"
DECISIONS, LANGUAGE = BUDGETS["decisions"], BUDGETS["language"]


class Fake:
    """Rows of logits that prefer the right choice, which is written in the text."""

    columns = ("text",)

    def __init__(self, change=lambda logits, truth, size: logits, *, rows=1, name="logits", right=0.9):
        self.change, self.rows, self.name, self.right = change, rows, name, right

    def _truth(self, text):
        return np.random.default_rng(int(text.split()[0])).integers(0, CHOICES, self.rows)

    def raw(self, inputs, *, batch_size=32):
        answers = []
        for item in inputs:
            random = np.random.default_rng(int(item["text"].split()[0]) + 7)
            truth = self._truth(item["text"])
            logits = random.normal(size=(self.rows, CHOICES))
            logits[np.arange(self.rows), truth] += 4 * (random.random(self.rows) < self.right)
            answers.append({self.name: self.change(logits, truth, batch_size).astype(np.float32)})
        return answers

    def cases(self, rows):
        known = self.name != "flags"
        return [Case({"text": row["text"]}, 1, {self.name: self._truth(row["text"])} if known else {}) for row in rows]

    def doubts(self, cases, raw):
        return []


DATA = Dataset("numbers", "0" * 64, (), tuple({"text": str(number)} for number in range(300)))


def judged(change, *, budget=DECISIONS["int8"], **kind):
    return evaluate(Fake(change, **kind), ask(Fake(**kind), DATA, samples_min=100), budget, [])


@pytest.mark.parametrize("kind", [{}, {"rows": 4}, {"name": "flags"}, {"name": "logits.start"}])
def test_the_same_answers_pass(kind):
    answers = ask(Fake(**kind), DATA, samples_min=100)
    parity = evaluate(Fake(**kind), answers, DECISIONS["float32"], [])
    assert parity.verdict == "pass"
    assert parity.check("agreement").interval.estimate == 1


def shuffled(logits, truth, size):
    return np.roll(logits, 1, axis=-1)


@pytest.mark.parametrize(
    ("change", "check"),
    [
        (shuffled, "agreement"),
        (shuffled, "mean shift of probabilities"),
        (lambda logits, truth, size: logits * 3, "mean shift of probabilities"),
        (
            lambda logits, truth, size: logits + (size > 1) * np.eye(CHOICES)[0] * 4,
            "worst agreement alone against in a batch",
        ),
        (lambda logits, truth, size: logits - 6 * np.eye(CHOICES)[truth], "accuracy lost"),
    ],
)
def test_a_fault_fails_its_check(change, check):
    parity = judged(change)
    assert parity.verdict == "fail"
    assert not parity.check(check).passed


def test_perplexity_is_measured_for_language():
    same = judged(lambda logits, truth, size: logits, budget=LANGUAGE["float32"], rows=8)
    assert same.verdict == "pass"
    assert same.check("perplexity ratio").interval.estimate == pytest.approx(1)
    worse = judged(lambda logits, truth, size: logits - 0.6 * np.eye(CHOICES)[truth], budget=LANGUAGE["int4"], rows=8)
    assert not worse.check("perplexity ratio").passed


def test_a_reference_that_is_wrong_as_often_as_chance_proves_nothing():
    answers = ask(Fake(right=0.0), DATA, samples_min=100)
    assert "chance level" in answers.doubts[0]
    assert evaluate(Fake(right=0.0), answers, DECISIONS["int8"], []).verdict == "unproven"


def test_a_reference_that_always_says_the_same_proves_nothing():
    answers = ask(Fake(lambda logits, truth, size: np.ones_like(logits)), DATA, samples_min=100)
    assert "nearly the same to every input" in answers.doubts[0]


def test_one_row_more_is_another_answer():
    parity = judged(lambda logits, truth, size: np.concatenate([logits, logits]))
    assert parity.verdict == "fail"
    assert "shape" in parity.reason
