"""Evidence: what a build measured, as the JSON that ships in the bundle, and the model card made from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from edgekit.runtime.host import Host
from edgekit.runtime.session import onnxruntime_version
from edgekit.spec.manifest import Manifest
from edgekit.spec.parity import Parity
from edgekit.spec.target import Target
from edgekit.stages.data import Dataset
from edgekit.stages.evaluate import Answers

SCHEMA_VERSION: Final = "1.0"
_HOLDS: Final = {True: "holds", False: "fails"}


@dataclass(frozen=True, slots=True)
class Trial:
    """One recipe that was made and judged.

    Attributes:
        recipe: Its name.
        variant: Its name as a variant.
        precision: Which budget it was held to.
        targets: Names of the targets it was made for.
        changed: What its passes did.
        size_bytes: Of its files.
        parity: The verdict.
        overflow: By component, what float16 cannot hold of it and so stayed in float32; empty for other precisions.
        ran: Whether this machine could open and run it.
    """

    recipe: str
    variant: str
    precision: str
    targets: tuple[str, ...]
    changed: str
    size_bytes: int
    parity: Parity
    overflow: Mapping[str, Any] = field(default_factory=dict)
    ran: bool = True


@dataclass(frozen=True, slots=True)
class Setting:
    """What all trials of a build have in common.

    ``rewrites`` are the graph passes and how often each matched, ``budget`` the bounds that were asked for.
    """

    task: str
    library: str
    architecture: str
    rewrites: Mapping[str, int]
    data: Dataset
    answers: Answers
    host: Host
    targets: Mapping[str, Target]
    allow_unproven: bool
    budget: Mapping[str, float] = field(default_factory=dict)


def parity_evidence(setting: Setting, shipped: Sequence[Trial], tried: Sequence[Trial]) -> dict[str, Any]:
    """The content of ``evidence/parity.json``.

    Args:
        setting: Data, host and reference.
        shipped: The variants of the bundle; empty where nothing passed.
        tried: Those that were left, in order.
    """
    host = setting.host
    return {
        "schema_version": SCHEMA_VERSION,
        "task": setting.task,
        "reference": {"library": setting.library, "architecture": setting.architecture, "dtype": "float32"},
        "data": {
            "name": setting.data.name,
            "sha256": setting.data.sha256,
            "judged": setting.answers.judged,
            "long": len(setting.answers.cases) - setting.answers.judged,
            "labelled": sum(bool(case.truth) for case in setting.answers.cases[: setting.answers.judged]),
            "calibrated": len(setting.data.calibration),
        },
        "rewrites": dict(setting.rewrites),
        "doubts": list(setting.answers.doubts),
        "allow_unproven": setting.allow_unproven,
        **({"budget": dict(setting.budget)} if setting.budget else {}),
        "judged_on": {
            "cpu": host.cpu_name,
            "architecture": host.architecture,
            "features": sorted(host.cpu_features),
            "system": host.system,
            "onnxruntime": onnxruntime_version(),
        },
        "variants": [_variant(setting, trial) for trial in shipped],
        "tried": [_left(trial) for trial in tried],
    }


def model_card(manifest: Manifest, evidence: Mapping[str, Any]) -> str:
    """``MODEL_CARD.md``, from the manifest and the evidence alone."""
    source, data, cpu = manifest.source, evidence["data"], evidence["judged_on"]
    lines = [
        "---",
        f"license: {source.license}",
        f"base_model: {source.name}",
        "library_name: edgekit",
        f"pipeline_tag: {manifest.task}",
        "---",
        "",
        f"# {manifest.name}",
        "",
        f"A bundle for {', '.join(manifest.targets)}, made by edgekit {manifest.generator['edgekit']}",
        f"from {source.name} ({source.architecture}), revision {source.revision}.",
        "",
        *(f"- {word}: {phrase}" for section in manifest.settings.values() for word, phrase in section.facts()),
        "",
        "## Parity with the original",
        "",
        f"Judged on {data['judged']} inputs of `{data['name']}`,",
        f"on {cpu['cpu']} ({cpu['architecture']}, {cpu['system']}) with onnxruntime {cpu['onnxruntime']}.",
        "Means and shares are given as the worse end of their 95 % confidence interval.",
        "",
    ]
    for variant in evidence["variants"]:
        parity = variant["parity"]
        lines += [
            f"### {variant['name']}: {parity['verdict']}",
            "",
            "| check | measured | bound | |",
            "|---|---|---|---|",
        ]
        lines += [
            f"| {check['name']} | {check['measured']:.4f} | {check['bound']:g} | {_HOLDS[check['passed']]} |"
            for check in parity["checks"]
        ]
        elsewhere = [target["name"] for target in variant["targets"] if not target["runs_here"]]
        if parity["verdict"] == "unproven" and parity["reason"] not in evidence["doubts"]:
            lines += ["", f"**Unproven**: {parity['reason']}."]
        if elsewhere:
            lines += ["", f"The judging machine is none of {', '.join(elsewhere)}: not run there yet."]
        lines.append("")
    if evidence["tried"]:
        lines += ["## Tried and left", ""]
        lines += [f"- {left['recipe']}: {left['verdict']}, {left['reason']}" for left in evidence["tried"]] + [""]
    for doubt in evidence["doubts"]:
        lines += [f"**Unproven**: {doubt}.", ""]
    return "\n".join(lines)


def _variant(setting: Setting, trial: Trial) -> dict[str, Any]:
    host = setting.host
    return {
        "name": trial.variant,
        "recipe": trial.recipe,
        "precision": trial.precision,
        "changed": trial.changed,
        "size_bytes": trial.size_bytes,
        "parity": trial.parity.to_json(),
        "targets": [
            {
                "name": name,
                "runs_here": not setting.targets[name].missing_on(host.architecture, host.cpu_features, host.providers),
            }
            for name in trial.targets
        ],
    } | _overflow(trial)


def _left(trial: Trial) -> dict[str, Any]:
    return {
        "recipe": trial.recipe,
        "targets": list(trial.targets),
        "changed": trial.changed,
        "verdict": trial.parity.verdict,
        "reason": trial.parity.reason,
        "checks": [check.to_json() for check in trial.parity.checks],
    } | _overflow(trial)


def _overflow(trial: Trial) -> dict[str, Any]:
    return {"overflow": dict(trial.overflow)} if trial.overflow else {}
