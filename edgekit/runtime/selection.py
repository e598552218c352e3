"""Which variant of a bundle this host runs, or why it runs none."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

from edgekit.errors import HostError, IntegrityError, UsageError
from edgekit.runtime.host import Host
from edgekit.runtime.tasks import CLASSES
from edgekit.spec.manifest import Manifest, Variant
from edgekit.spec.provider import PROVIDERS
from edgekit.spec.reader import nearest
from edgekit.spec.target import Target

_CONDITION: Final = re.compile(r"(>=|<=|==|!=|>|<)\s*(\d{1,6}(?:\.\d{1,6}){0,3})")


def check_host(manifest: Manifest, host: Host, onnxruntime_version: str, name: str | None = None) -> Variant:
    """Decide whether this host can run the bundle, before anything is loaded.

    Args:
        manifest: The bundle's.
        host: The machine.
        onnxruntime_version: Of the installed onnxruntime, for example ``1.32.0``.
        name: The variant asked for; None lets the host decide.

    Returns:
        The variant to load.

    Raises:
        HostError: The task is unknown here, onnxruntime is outside the bundle's range, or no target fits.
        UsageError: There is no variant of that name.
        IntegrityError: The manifest's version range is malformed.
    """
    if manifest.task not in CLASSES:
        raise HostError(
            f"the bundle's task {manifest.task!r} is unknown to this edgekit, which knows {', '.join(CLASSES)}",
            hint="it needs a newer edgekit: pip install --upgrade edgekit",
        )
    if not version_in_range(onnxruntime_version, manifest.onnxruntime):
        raise HostError(
            f"the bundle needs onnxruntime {manifest.onnxruntime}, installed is {onnxruntime_version}",
            hint=f"pip install 'onnxruntime{manifest.onnxruntime}'",
        )
    return choose_variant(manifest, host, name)


def check_cpu(manifest: Manifest, host: Host, name: str | None = None) -> None:
    """Refuse a CPU that none of the variants is for, before ONNX Runtime is imported.

    Its own code, and numpy's, may be instructions that such a CPU lacks: importing them would end the process. What
    its execution providers are is not known yet, so variants for other processors than the CPU count as fitting.

    Args:
        manifest: The bundle's.
        host: The machine; its providers are not looked at.
        name: The variant asked for; None lets the host decide.

    Raises:
        HostError: The CPU fits none; the message says what is missing.
        UsageError: There is no variant of that name.
    """
    every = frozenset(target.execution_provider for target in manifest.targets.values())
    choose_variant(manifest, replace(host, providers=every), name)


def choose_variant(manifest: Manifest, host: Host, name: str | None = None) -> Variant:
    """The variant for this host: of those that fit, the one with the highest target rank.

    A target whose execution provider the host's onnxruntime lacks does not fit. The choice is among variants that were
    each made for their provider; none is run on another than its own.

    The manifest's order, which is the bundle's preference, breaks ties.

    Raises:
        HostError: No target fits; the message says for each what is missing.
        UsageError: There is no variant of that name.
    """
    candidates = manifest.variants
    if name is not None:
        names = tuple(variant.name for variant in manifest.variants)
        if name not in names:
            raise UsageError(
                f"the bundle has no variant {name!r}, only {', '.join(names)}",
                hint=nearest(name, names),
            )
        candidates = (manifest.variant(name),)
    best: tuple[int, Variant] | None = None
    for variant in candidates:
        for target in (manifest.targets[target] for target in variant.targets):
            fits = not target.missing_on(host.architecture, host.cpu_features, host.providers)
            if fits and (best is None or target.rank > best[0]):
                best = (target.rank, variant)
    if best is None:
        raise _nothing_fits(manifest, host, candidates, asked=name)
    return best[1]


def version_in_range(version: str, specifier: str) -> bool:
    """Whether a release is in a range such as ``>=1.24,<2``; what follows the release number is not looked at.

    Raises:
        IntegrityError: The range is not conditions of ``>=``, ``>``, ``<``, ``<=``, ``==``, ``!=`` joined by commas.
    """
    return all(_holds(_release(version), condition.strip(), specifier) for condition in specifier.split(","))


def _holds(release: tuple[int, ...], condition: str, specifier: str) -> bool:
    match = _CONDITION.fullmatch(condition)
    if match is None:
        raise IntegrityError(f"edgekit.json: requires: onnxruntime: {specifier!r} is not a range such as '>=1.24,<2'")
    bound = _release(match[2])
    holds: dict[str, bool] = {
        ">=": release >= bound,
        "<=": release <= bound,
        "==": release == bound,
        "!=": release != bound,
        ">": release > bound,
        "<": release < bound,
    }
    return holds[match[1]]


def _release(version: str) -> tuple[int, ...]:
    match = re.match(r"\d{1,6}(\.\d{1,6}){0,3}", version)
    numbers = [int(part) for part in match[0].split(".")] if match else []
    return tuple(numbers + [0] * (4 - len(numbers)))


def _nothing_fits(manifest: Manifest, host: Host, variants: tuple[Variant, ...], *, asked: str | None) -> HostError:
    names = dict.fromkeys(target for variant in variants for target in variant.targets)
    reasons = "; ".join(_reason(manifest.targets[name], host) for name in names)
    what = "no variant of the bundle fits" if asked is None else f"variant {asked!r} does not fit"
    cpu = f" ({host.cpu_name})" if host.cpu_name else ""
    hint = "use a bundle that was made for this CPU: `edgekit targets` lists what bundles can be made for"
    lacking = [
        provider
        for provider in dict.fromkeys(manifest.targets[name].execution_provider for name in names)
        if provider not in host.providers
    ]
    if lacking:
        hint = "; ".join(f"{provider} needs {PROVIDERS[provider].install}" for provider in lacking)
    return HostError(
        f"{what} this {host.architecture} CPU{cpu}: {reasons or 'it serves no target'}",
        hint=hint,
    )


def _reason(target: Target, host: Host) -> str:
    missing = target.missing_on(host.architecture, host.cpu_features, host.providers)
    if missing == (target.architecture,):
        return f"{target.name} is for {target.architecture}"
    return f"{target.name} needs {', '.join(missing)}"
