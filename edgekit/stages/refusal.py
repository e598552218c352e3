"""Refusals: why nothing ships, and the evidence that is left of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgekit.errors import HostError, InconclusiveError, OutputError, ParityError
from edgekit.stages import evidence, package
from edgekit.stages.evidence import Setting, Trial
from edgekit.stages.request import BuildRequest


def failed(request: BuildRequest, setting: Setting, tried: Sequence[Trial]) -> ParityError | HostError:
    """No recipe passed, of which the last did not even run or was too far off."""
    path = _leave_evidence(request, evidence.parity_evidence(setting, [], tried))
    last = tried[-1]
    if not last.ran:
        return HostError(
            f"no recipe can ship; the last, {last.recipe}, does not run here: {last.parity.reason}", hint=f"see {path}"
        )
    return ParityError(
        f"no recipe stays within the parity budget; the last, {last.recipe}: {last.parity.reason}",
        hint=f"{path} tells how far off each was"
        + ("; without --recipe edgekit climbs to the next ones" if request.recipe else ""),
    )


def unproven(request: BuildRequest, setting: Setting, tried: Sequence[Trial] = ()) -> InconclusiveError:
    """Nothing failed, but the data, the reference or this machine proves nothing."""
    path = _leave_evidence(request, evidence.parity_evidence(setting, [], tried))
    reason = "; ".join(setting.answers.doubts) or tried[-1].parity.reason
    remedy = "give more real texts with --data" if setting.answers.doubts else "export on a machine that has it"
    return InconclusiveError(
        f"parity cannot be proven: {reason}",
        hint=f"{remedy}, or --allow-unproven to ship it marked so; see {path}",
    )


def beside(request: BuildRequest, what: str) -> Path:
    """The folder next to the bundle that keeps what is no part of it, such as ``OUTPUT.evidence``."""
    return request.output.with_name(f"{request.output.name}.{what}")


def _leave_evidence(request: BuildRequest, facts: Mapping[str, Any]) -> Path:
    path = beside(request, "evidence") / "parity.json"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(package.evidence_json(facts))
    except OSError as error:
        raise OutputError(
            f"{path}: the evidence of a failed build cannot be written: {error.strerror}",
            hint="free space on that disk, or name an output folder elsewhere",
        ) from error
    return path
