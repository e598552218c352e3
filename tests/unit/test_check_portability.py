import pytest

from edgekit.checks.portability import finding
from edgekit.errors import BudgetError, HostError, InconclusiveError, ParityError
from edgekit.portability import Outcome, Proof, Report

ERRORS = {
    Outcome.PASS: None,
    Outcome.WRONG: ParityError,
    Outcome.CANNOT_RUN: HostError,
    Outcome.NOT_CLAIMED: HostError,
    Outcome.OVER_LIMIT: BudgetError,
    Outcome.NOT_TRUSTED: InconclusiveError,
    Outcome.NOT_AVAILABLE: InconclusiveError,
}


def found(outcome, *, decides=True):
    proof = Proof("wasm", "wasm", outcome, "because", decides=decides, variant="int8")
    return finding(Report("tiny 1", {}, (proof,), {}), proof)


@pytest.mark.parametrize("outcome", list(Outcome))
def test_an_outcome_is_the_error_that_it_is_elsewhere(outcome):
    assert found(outcome).error is ERRORS[outcome]


def test_what_decides_nothing_is_noted():
    one = found(Outcome.WRONG, decides=False)
    assert (one.outcome, one.error) == ("note", None)
    assert one.detail == "wrong answers: because"
