"""From answers to an outcome: beside the golden ones, beside this machine's own, beside every other environment's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from edgekit.portability.jobs import Ran
from edgekit.portability.report import Agreement, Outcome, Probe, Proof
from edgekit.portability.tolerances import Tolerance
from edgekit.runtime.answers import Raw, agreement
from edgekit.runtime.golden import Golden


def compare(expected: Sequence[Raw], found: Sequence[Raw], bound: float) -> Agreement:
    """How alike answers to the same inputs are."""
    alike = [agreement(one, other) for one, other in zip(expected, found, strict=True)]
    return Agreement(len(alike), min(alike), sum(alike) / len(alike), bound)


def judged(
    proof: Proof, ran: Ran, golden: Sequence[Golden], own: Sequence[Raw], bounds: tuple[float, Tolerance]
) -> Proof:
    """The proof with what a run gave.

    Args:
        proof: Its name, kind and facts.
        ran: What the environment gave.
        golden: The golden cases, which stand at the beginning of the sample.
        own: This machine's answers to the sample; none where it has none.
        bounds: The variant's own least agreement with the golden cases, and the tolerance of its kernels.
    """
    proof = replace(proof, facts={**proof.facts, **ran.facts}, probes=ran.probes)
    broken = [probe for probe in ran.probes if not probe.passed]
    if ran.failure and ran.failure.of_environment:
        return replace(
            proof,
            outcome=Outcome.NOT_TRUSTED,
            reason=f"environment not trusted: {ran.failure.reason}",
            hint=ran.failure.hint,
        )
    if broken:
        return replace(proof, outcome=Outcome.NOT_TRUSTED, reason=_distrust(broken))
    if ran.failure:
        return replace(proof, outcome=Outcome.CANNOT_RUN, reason=ran.failure.reason, hint=ran.failure.hint)
    golden_min, tolerance = bounds
    beside_golden = compare([case.expected for case in golden], ran.answers[: len(golden)], golden_min)
    beside_own = compare(own, ran.answers, tolerance.native_min) if own else None
    proof = replace(proof, golden=beside_golden, native=beside_own)
    if not beside_golden.passed:
        return _wrong(
            proof, f"golden cases: worst agreement {beside_golden.worst:.4f}, at least {golden_min:g} expected"
        )
    if beside_own and not beside_own.passed:
        return _wrong(
            proof,
            f"beside this machine: worst agreement {beside_own.worst:.4f}, at least {beside_own.bound:g} expected",
        )
    return replace(proof, outcome=Outcome.PASS, reason=_passed(beside_golden, beside_own, ran.probes))


def without_drift(proofs: Sequence[Proof], tolerances: Mapping[str, Tolerance]) -> list[Proof]:
    """Hold the environments of one variant against each other.

    A file that saturates on one kind of CPU answers worse there than elsewhere, perhaps within the self-test's slack.
    The best mean agreement with the golden cases among trusted environments is what the file can do.

    Args:
        proofs: All of them.
        tolerances: By variant.
    """
    best: dict[str, float] = {}
    for proof in _with_answers(proofs):
        assert proof.golden is not None  # noqa: S101 - _with_answers
        best[proof.variant] = max(best.get(proof.variant, -1.0), proof.golden.mean)
    return [_drifted(proof, best, tolerances) for proof in proofs]


def _drifted(proof: Proof, best: Mapping[str, float], tolerances: Mapping[str, Tolerance]) -> Proof:
    if proof.outcome is not Outcome.PASS or proof.golden is None:
        return proof
    behind, allowed = best[proof.variant] - proof.golden.mean, tolerances[proof.variant].drift
    if behind <= allowed:
        return proof
    return _wrong(
        proof,
        f"mean agreement with the golden cases {proof.golden.mean:.4f}, {behind:.4f} less than the same file reaches "
        f"elsewhere; {allowed:g} is allowed",
    )


def _with_answers(proofs: Iterable[Proof]) -> list[Proof]:
    return [proof for proof in proofs if proof.golden is not None]


def _wrong(proof: Proof, reason: str) -> Proof:
    hint = "kernels of this environment compute the file differently: export again, or try another recipe"
    return replace(proof, outcome=Outcome.WRONG, reason=reason, hint=hint)


def _distrust(broken: Sequence[Probe]) -> str:
    first = broken[0]
    size = "no finite answer" if first.error is None else f"off by {first.error:.3g} of the largest value"
    return f"environment not trusted: its probe of {first.kernels} is {size}, at most {first.bound:g} is right"


def _passed(golden: Agreement, own: Agreement | None, probes: Sequence[Probe]) -> str:
    beside = f", {own.inputs} inputs as on this machine" if own else ""
    return f"{golden.inputs} golden cases{beside}, {len(probes)} probes"
