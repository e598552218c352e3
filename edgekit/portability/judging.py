"""From answers to an outcome: beside the golden ones, beside this machine's own, beside every other environment's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


def judged(proof: Proof, ran: Ran, golden: Sequence[Golden], own: Sequence[Raw], bounds: tuple[float, float]) -> Proof:
    """The proof with what a run gave, judged by itself.

    Args:
        proof: Its name, kind and facts.
        ran: What the environment gave.
        golden: The golden cases, which stand at the beginning of the sample.
        own: This machine's answers to the sample; none where it has none.
        bounds: The variant's own least agreement with the golden cases, and its kernels' with this machine's answers.
    """
    proof = replace(proof, facts={**proof.facts, **ran.facts}, probes=ran.probes)
    broken = [probe for probe in ran.probes if not probe.passed]
    if ran.failure and ran.failure.of_environment:
        reason = f"environment not trusted: {ran.failure.reason}"
        return replace(proof, outcome=Outcome.NOT_TRUSTED, reason=reason, hint=ran.failure.hint)
    if broken:
        return replace(proof, outcome=Outcome.NOT_TRUSTED, reason=_distrust(broken))
    if ran.failure:
        return replace(proof, outcome=Outcome.CANNOT_RUN, reason=ran.failure.reason, hint=ran.failure.hint)
    beside_golden = compare([case.expected for case in golden], ran.answers[: len(golden)], bounds[0])
    beside_own = compare(own[: len(ran.answers)], ran.answers, bounds[1]) if own else None
    proof = replace(proof, golden=beside_golden, native=beside_own)
    if not beside_golden.passed:
        return _wrong(
            proof, f"golden cases: worst agreement {beside_golden.worst:.4f}, at least {bounds[0]:g} expected"
        )
    return replace(proof, outcome=Outcome.PASS, reason=_passed(beside_golden, beside_own, ran.probes))


def judged_together(
    proofs: Sequence[Proof], own: Mapping[str, Agreement], tolerances: Mapping[str, Tolerance]
) -> list[Proof]:
    """Hold the environments of one variant against this machine, and against each other.

    A file that saturates on one kind of CPU answers worse there than elsewhere, perhaps within the self-test's slack.
    Where two disagree beyond what rounding does, the one that is farther from the golden answers is wrong, and this
    machine may be the one.

    Args:
        proofs: Each judged by itself.
        own: This machine's agreement with the golden cases, by variant.
        tolerances: By variant.
    """
    answered = [proof for proof in proofs if proof.golden is not None and proof.outcome is Outcome.PASS]
    better = {variant: _better(variant, answered, own, tolerances) for variant in own}
    return [_held(proof, own, better) if proof in answered else proof for proof in proofs]


def _better(
    variant: str, answered: Sequence[Proof], own: Mapping[str, Agreement], tolerances: Mapping[str, Tolerance]
) -> Proof | None:
    """An environment that shows this machine to be wrong about a variant, if there is one."""
    closer = [
        proof
        for proof in answered
        if proof.variant == variant and proof.golden and proof.native
        and (not proof.native.passed or proof.golden.mean > own[variant].mean + tolerances[variant].drift)
        and proof.golden.mean > own[variant].mean
    ]  # fmt: skip
    return max(closer, key=lambda proof: proof.golden.mean if proof.golden else -1, default=None)


def _held(proof: Proof, own: Mapping[str, Agreement], better: Mapping[str, Proof | None]) -> Proof:
    if proof.golden is None or proof.native is None:
        return proof
    other = better[proof.variant]
    if other is not None:
        if proof.native.passed and other.golden:  # it answers as this machine does, which is the wrong one
            lost = other.golden.mean - proof.golden.mean
            return _wrong(
                proof, f"the same file is closer to the golden answers on {other.name}, in the mean by {lost:.4f}"
            )
        if proof.golden.mean < own[proof.variant].mean:
            return _disagrees(proof)
        return replace(proof, reason=f"{proof.golden.inputs} golden cases, closer than on this machine")
    return proof if proof.native.passed else _disagrees(proof)


def _disagrees(proof: Proof) -> Proof:
    assert proof.native is not None  # noqa: S101 - the caller's
    worst, bound = proof.native.worst, proof.native.bound
    return _wrong(proof, f"beside this machine: worst agreement {worst:.4f}, at least {bound:g} expected")


def could_saturate(proof: Proof, largest: int, limit: int) -> Proof:
    """The proof of a variant whose products are too large for the 16 bits of this environment's CPUs."""
    return _wrong(
        proof, f"its int8 products can saturate: neighbouring weights add up to {largest}, {limit} fit 16 bits"
    )


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
