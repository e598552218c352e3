"""The two bundles, and which variants of them stand against each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgekit.bundle.reading import Bundle
from edgekit.checks.findings import FAIL, INCONCLUSIVE, NOTE, PASS, Finding, outcome
from edgekit.errors import HostError
from edgekit.runtime.host import Host
from edgekit.runtime.selection import check_host
from edgekit.spec.manifest import Component, Manifest, Variant


@dataclass(frozen=True, slots=True)
class Pair:
    """Two variants that serve the same targets.

    Attributes:
        new: Of the new bundle.
        old: Of the baseline.
        targets: Names of the targets.
    """

    new: Variant
    old: Variant
    targets: tuple[str, ...]

    @property
    def name(self) -> str:
        """For people."""
        return self.new.name if self.new.name == self.old.name else f"{self.old.name} -> {self.new.name}"


@dataclass(frozen=True, slots=True)
class Sides:
    """Both bundles, opened.

    Attributes:
        new: The bundle that is checked.
        old: Its baseline.
        pairs: Their variants, target by target.
    """

    new: Bundle
    old: Bundle
    pairs: tuple[Pair, ...]

    def same_graphs(self, pair: Pair) -> bool:
        """Whether the pair's files and options are the very same, so that there is nothing to compare."""
        return _content(self.new.manifest, pair.new) == _content(self.old.manifest, pair.old)


def pair_up(new: Manifest, old: Manifest) -> tuple[Pair, ...]:
    """The variants that serve each target that both bundles have, a pair once."""
    serving = {target: variant for variant in reversed(new.variants) for target in variant.targets}
    found: dict[tuple[str, str], list[str]] = {}
    for variant in old.variants:
        for target in variant.targets:
            if target in serving:
                found.setdefault((serving[target].name, variant.name), []).append(target)
    return tuple(Pair(new.variant(mine), old.variant(theirs), tuple(names)) for (mine, theirs), names in found.items())


def compatibility(sides: Sides) -> list[Finding]:
    """Whether whatever used the baseline can use the new bundle as it is."""
    new, old = sides.new.manifest, sides.old.manifest
    found = [Finding("compatibility", "task", outcome(holds=new.task == old.task), old.task, new.task)]
    lost = [name for name in old.targets if name not in {target for pair in sides.pairs for target in pair.targets}]
    found.append(
        Finding(
            "compatibility",
            "targets",
            outcome(holds=not lost),
            f"{len(old.targets)}",
            f"{len(new.targets)}",
            f"no variant serves {', '.join(lost)} any more" if lost else "every target of the baseline is served",
        )
    )
    for name in dict.fromkeys((*old.components, *new.components)):
        changed = _signature(new.components.get(name)) != _signature(old.components.get(name))
        detail = "inputs or outputs are others" if changed else ""
        found.append(Finding("compatibility", f"graph {name}", outcome(holds=not changed), detail=detail))
    found += _settings(new, old)
    same = new.onnxruntime == old.onnxruntime
    found.append(Finding("compatibility", "onnxruntime", PASS if same else NOTE, old.onnxruntime, new.onnxruntime))
    return found


def origin(sides: Sides) -> list[Finding]:
    """Whether both are made from the same weights by the same recipes."""
    new, old = sides.new.manifest.source, sides.old.manifest.source
    same = new.weights_sha256 == old.weights_sha256
    detail = "" if same else "made from other weights: its answers are not the baseline's (--accept model if meant)"
    was, is_now = (source.weights_sha256[:12] for source in (old, new))
    found = [Finding("model", f"weights of {new.name}", outcome(holds=same), was, is_now, detail)]
    for pair in sides.pairs:
        before, after = (f"{one.recipe} ({one.precision})" for one in (pair.old, pair.new))
        detail = "" if before == after else f"serves {', '.join(pair.targets)} (--accept recipe if meant)"
        found.append(Finding("recipe", pair.name, outcome(holds=before == after), before, after, detail))
    return found


def here(sides: Sides, host: Host, onnxruntime: str) -> tuple[Pair | None, list[Finding]]:
    """The variants that this machine takes of either bundle, for what has to be run."""
    try:
        new = check_host(sides.new.manifest, host, onnxruntime)
    except HostError as error:
        return None, [Finding("compatibility", "this machine", FAIL, detail=error.message)]
    try:
        old = check_host(sides.old.manifest, host, onnxruntime)
    except HostError as error:
        return None, [Finding("compatibility", "this machine", INCONCLUSIVE, detail=f"the baseline: {error.message}")]
    return Pair(new, old, ()), [Finding("compatibility", "this machine", PASS, old.name, new.name)]


def _signature(component: Component | None) -> object:
    if component is None:
        return None
    # Names of free dimensions are labels; which dimensions are free is what callers rely on.
    return [
        [(one.name, one.dtype, tuple(size if isinstance(size, int) else None for size in one.shape)) for one in tensors]
        for tensors in (component.inputs, component.outputs)
    ]


def _settings(new: Manifest, old: Manifest) -> Sequence[Finding]:
    """Settings that change what answers look like: a dimension, labels, a length."""
    found = []
    for key in dict.fromkeys((*old.settings, *new.settings)):
        before, after = (
            manifest.settings[key].to_json() if key in manifest.settings else {} for manifest in (old, new)
        )
        # Where a file lies follows from its content; the content is compared by what it answers.
        changed = [
            name
            for name in dict.fromkeys((*before, *after))
            if before.get(name) != after.get(name) and not _is_path(before.get(name), old)
        ]
        if changed:
            shown = ", ".join(changed)
            old_values, new_values = (
                ", ".join(str(side.get(name))[:40] for name in changed) for side in (before, after)
            )
            found.append(Finding("compatibility", f"settings {key}: {shown}", FAIL, old_values, new_values))
    return found


def _is_path(value: object, manifest: Manifest) -> bool:
    return isinstance(value, str) and any(entry.path == value for entry in manifest.files)


def _content(manifest: Manifest, variant: Variant) -> object:
    files = {
        entry.path.removeprefix(f"{variant.folder}/"): entry.sha256
        for entry in manifest.files
        if entry.path.startswith(f"{variant.folder}/")
    }
    return files, dict(variant.graphs), dict(variant.session_options)
