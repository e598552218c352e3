"""Start: the float graphs that a recipe starts from, and what is measured on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np

from edgekit.spec.parity import Check
from edgekit.spec.provider import CPU
from edgekit.stages import component_files, decode_feeds
from edgekit.stages.calibrate import Calibration
from edgekit.stages.inner_session import open_component
from edgekit.stages.moments import Moments
from edgekit.stages.outliers import split_outliers
from edgekit.stages.products import Matrix
from edgekit.stages.reference import Feeds
from edgekit.stages.smooth import smooth

COMPARED_INPUTS: Final = 4
OFF_MAX: Final = 1e-4  # of the largest number of an output; rounding leaves a tenth of it


class Start:
    """Float graphs with their measurements, each taken when a recipe first asks for it.

    Args:
        folder: Of the float graphs; measurements go into ``FOLDER-probes`` beside it.
        feeds: Calibration inputs by component, one input each (padding would count as activation).
        provider: Execution provider that the graphs are for.
        moments: Of these products' inputs, where they are known from other graphs; measured otherwise.

    Attributes:
        folder: As given.
        feeds: As given.
        calibrations: By component.
        moments: Of the products' inputs.
    """

    def __init__(
        self,
        folder: Path,
        feeds: Mapping[str, Sequence[Feeds]],
        provider: str = CPU,
        *,
        moments: Moments | None = None,
    ) -> None:
        self.folder = folder
        self.feeds = feeds
        self._provider = provider
        self._sparing: dict[float, Smoothed] = {}
        probes = folder.with_name(f"{folder.name}-probes")
        # float16 is probed in every component.
        read = feeds if provider == CPU else decode_feeds.with_decode(feeds, folder)
        self.calibrations = {name: Calibration(folder, name, batches, probes / name) for name, batches in read.items()}
        self.moments = moments or Moments(folder, feeds, probes / "moments")

    @cached_property
    def smoothed(self) -> Smoothed:
        """With the products' inputs smoothed."""
        return self._smoothed("smoothed", outliers=False)

    @cached_property
    def smoothed_without_outliers(self) -> Smoothed:
        """With outlier channels taken out of the products, and the rest smoothed."""
        return self._smoothed("smoothed-outliers", outliers=True)

    def smoothed_sparing(self, share: float) -> Smoothed:
        """The same, but for the products that a share of all multiplications in float is best spent on."""
        if share not in self._sparing:
            whole = self.smoothed_without_outliers.start
            spared = {name: calibration.spared(share) for name, calibration in whole.calibrations.items()}
            # What is not spared reads what it read before, and need not be measured again.
            self._sparing[share] = self._smoothed(
                f"smoothed-sparing-{share:.3f}", outliers=True, spared=spared, moments=whole.moments
            )
        return self._sparing[share]

    def _smoothed(
        self,
        suffix: str,
        *,
        outliers: bool,
        spared: Mapping[str, Sequence[str]] | None = None,
        moments: Moments | None = None,
    ) -> Smoothed:
        models = component_files.load(self.folder)
        spared = spared or {}
        split = count = 0
        for name, model in models.items():
            bounds, spare = self.calibrations[name].bounds, spared.get(name, ())
            split += split_outliers(model, bounds, spare) if outliers else 0
            count += smooth(model, bounds, spare=spare)
        folder = self.folder.with_name(f"{self.folder.name}-{suffix}")
        component_files.save(models, folder)
        start = Start(folder, self.feeds, self._provider, moments=moments)
        changed = {"products with outliers in float": split, "products smoothed": count}
        return Smoothed(start, changed, self._difference(folder), spared)

    def _difference(self, folder: Path) -> float:
        """The largest difference between answers of graphs in another folder and these, as a share of the largest."""
        worst = 0.0
        for name, batches in self.feeds.items():
            ours, theirs = (open_component(where, name) for where in (self.folder, folder))
            for feeds in batches[:COMPARED_INPUTS]:
                for exact, found in zip(ours.run(None, dict(feeds)), theirs.run(None, dict(feeds)), strict=True):
                    worst = max(worst, _off(exact, found))
        return worst


@dataclass(frozen=True, slots=True)
class Smoothed:
    """Float graphs whose products read other inputs than the original's, and which answer the same.

    Attributes:
        start: They.
        changed: What was done to how many products.
        off: The largest difference of an answer from the original graphs', as a share of the answer's largest number.
        spared: For each component the weights that are to stay in float, by name; whose inputs are the original's.
    """

    start: Start
    changed: Mapping[str, int]
    off: float
    spared: Mapping[str, Sequence[str]]

    @property
    def check(self) -> Check:
        """Whether smoothing changed no answer."""
        return Check("smoothed graph off the original", self.off, OFF_MAX, self.off <= OFF_MAX)


def _off(exact: Matrix, found: Matrix) -> float:
    """NaN counts as the worst."""
    if not np.issubdtype(exact.dtype, np.floating) or not exact.size:
        return 0.0
    off = float(np.abs(found.astype(np.float64) - exact).max()) / max(float(np.abs(exact).max()), 1e-30)
    return off if np.isfinite(off) else float("inf")
