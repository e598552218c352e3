"""What was found: one :class:`Proof` for each environment, and what they add up to.

Nothing in here depends on a clock or on where files lie, so that the same bundle in the same environments gives the
same bytes of evidence.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from edgekit.errors import BudgetError, EdgekitError, HostError, InconclusiveError, ParityError
from edgekit.portability.tolerances import TOLERANCES

SCHEMA_VERSION: Final = "1.0"
EVIDENCE: Final = "evidence/portability.json"


class Outcome(StrEnum):
    """How a bundle fared in an environment. Only the first is a proof."""

    PASS = "pass"  # noqa: S105 - no password
    WRONG = "wrong answers"
    CANNOT_RUN = "cannot run"
    OVER_LIMIT = "over limit"
    NOT_TRUSTED = "not trusted"
    NOT_AVAILABLE = "not available"
    NOT_CLAIMED = "not claimed"


# What an outcome means for the bundle, the gravest first.
_GRAVITY: Final[tuple[tuple[frozenset[Outcome], type[EdgekitError]], ...]] = (
    (frozenset({Outcome.WRONG}), ParityError),
    (frozenset({Outcome.CANNOT_RUN, Outcome.NOT_CLAIMED}), HostError),
    (frozenset({Outcome.OVER_LIMIT}), BudgetError),
    (frozenset({Outcome.NOT_TRUSTED, Outcome.NOT_AVAILABLE}), InconclusiveError),
)


@dataclass(frozen=True, slots=True)
class Probe:
    """A known-good graph of one kernel class that an environment must answer before a bundle is judged there.

    Attributes:
        kernels: The class, one of :data:`edgekit.portability.tolerances.TOLERANCES`.
        error: Largest difference from the exact answer, relative to the largest exact value; None where the
            environment gave no answer or one that is not finite.
        bound: What is allowed.
    """

    kernels: str
    error: float | None
    bound: float

    @property
    def passed(self) -> bool:
        """Whether the environment computes such kernels."""
        return self.error is not None and self.error <= self.bound


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit of a device, and whether the bundle keeps it.

    Attributes:
        name: ``memory`` or ``disk``.
        measured_bytes: Peak memory of a native process that answers every input, or the size of all files; None where
            it was not measured.
        limit_bytes: The device's.
    """

    name: str
    measured_bytes: int | None
    limit_bytes: int

    @property
    def kept(self) -> bool:
        """Whether the bundle stays within it; what was not measured does not."""
        return self.measured_bytes is not None and self.measured_bytes <= self.limit_bytes


@dataclass(frozen=True, slots=True)
class Agreement:
    """How alike answers are, by :func:`edgekit.runtime.answers.agreement`: 1 for the very same.

    Attributes:
        inputs: How many were compared.
        worst: The least agreement.
        mean: Over the inputs.
        bound: The least ``worst`` that is accepted.
    """

    inputs: int
    worst: float
    mean: float
    bound: float

    @property
    def passed(self) -> bool:
        """Whether the worst is no less than the bound."""
        return self.worst >= self.bound


@dataclass(frozen=True, slots=True)
class Proof:
    """What one environment said.

    Attributes:
        name: What was asked for: a target, a device, ``native``, ``onnxruntime-oldest`` or ``onnxruntime-newest``.
        kind: ``native``, ``qemu``, ``wasm``, ``webgpu`` or ``onnxruntime``; empty where nothing was tried.
        outcome: How the bundle fared.
        reason: One plain sentence; for a pass, what it rests on.
        decides: Whether it counts for the verdict. ``all`` also tries what the bundle does not claim, to tell.
        claimed: Whether the bundle says that it serves such a device.
        variant: The variant that ran; empty where none did.
        facts: What the environment is: emulator, CPU, versions, adapter.
        probes: One for each kernel class the variant uses.
        golden: Answers to the golden cases beside those expected, if there were answers.
        native: Answers to the sample beside this machine's own of the same variant, if there were answers.
        limits: Those of a device.
        hint: The next thing to try.
    """

    name: str
    kind: str
    outcome: Outcome
    reason: str
    decides: bool = True
    claimed: bool = True
    variant: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    probes: tuple[Probe, ...] = ()
    golden: Agreement | None = None
    native: Agreement | None = None
    limits: tuple[Limit, ...] = ()
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """The whole of it.

    Attributes:
        bundle: Name and version of the bundle.
        subject: Of each variant that was judged, the SHA-256 of each of its files, by path.
        proofs: In the order asked for.
        uncovered: Targets the bundle claims that no environment here stands for, with the reason.
    """

    bundle: str
    subject: Mapping[str, str]
    proofs: tuple[Proof, ...]
    uncovered: Mapping[str, str]

    @property
    def exit_code(self) -> int:
        """0, or the exit code of the gravest outcome that decides."""
        found = self.error()
        return found.exit_code if found else 0

    def error(self) -> EdgekitError | None:
        """The gravest outcome that decides as an error; None where everything asked for passed."""
        for outcomes, kind in _GRAVITY:
            met = [proof for proof in self.proofs if proof.decides and proof.outcome in outcomes]
            if met:
                more = f" (and {len(met) - 1} more)" if len(met) > 1 else ""
                return kind(f"{met[0].name}: {met[0].outcome}: {met[0].reason}{more}", hint=met[0].hint)
        return None

    def to_json(self) -> dict[str, Any]:
        """JSON values; what varies from run to run, such as measured memory, is left out."""
        return {
            "schema_version": SCHEMA_VERSION,
            "bundle": self.bundle,
            "subject": dict(sorted(self.subject.items())),
            "proofs": [_proof_json(proof) for proof in self.proofs],
            "uncovered": dict(sorted(self.uncovered.items())),
            "tolerances": {name: tolerance.to_json() for name, tolerance in TOLERANCES.items()},
        }

    def to_bytes(self) -> bytes:
        """The canonical bytes of ``evidence/portability.json``."""
        return (json.dumps(self.to_json(), indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _proof_json(proof: Proof) -> dict[str, Any]:
    return {
        "name": proof.name,
        "kind": proof.kind,
        "outcome": str(proof.outcome),
        "reason": proof.reason,
        "decides": proof.decides,
        "claimed": proof.claimed,
        "variant": proof.variant,
        "facts": dict(proof.facts),
        "probes": [
            {"kernels": probe.kernels, "error": _rounded(probe.error), "bound": probe.bound, "passed": probe.passed}
            for probe in proof.probes
        ],
        **{
            name: {
                "inputs": found.inputs,
                "worst": _rounded(found.worst),
                "mean": _rounded(found.mean),
                "bound": found.bound,
                "passed": found.passed,
            }
            for name, found in (("golden", proof.golden), ("native", proof.native))
            if found is not None
        },
        "limits": [
            {"name": limit.name, "limit_bytes": limit.limit_bytes, "kept": limit.kept} for limit in proof.limits
        ],
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
