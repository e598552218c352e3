"""From a matrix as it was written to what has to be done: its models found, its cells as requests with their keys."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edgekit import catalog
from edgekit.matrix import keys
from edgekit.matrix.cache import Key
from edgekit.spec.matrix import Matrix, MatrixCell, MatrixModel
from edgekit.stages import fetch, ladder
from edgekit.stages.request import BuildRequest, check_objective

# A child that has imported everything takes 0.7 GB; the rest was seen with encoders and decoders of 20 to 600 MB.
_BASE_BYTES: Final = 1_000_000_000
_TIMES_WEIGHTS: Final = 6


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell as a request.

    Attributes:
        spec: As it was written.
        request: What to build, into its place.
    """

    spec: MatrixCell
    request: BuildRequest


@dataclass(frozen=True, slots=True)
class Found:
    """A model's checkpoint as it is now.

    Attributes:
        key: Of what its cells share.
        files: Digest of its files.
        memory_bytes: What making one of its cells takes at most, as it was said or is estimated.
    """

    key: Key
    files: str
    memory_bytes: int


def plan(matrix: Matrix, base: Path, output: Path, token: str | None) -> tuple[Cell, ...]:
    """Every cell as a request, names checked.

    Args:
        matrix: As it was written.
        base: What paths in it are relative to.
        output: The folder of all bundles.
        token: For the hub.

    Raises:
        UsageError: A target, recipe or objective does not exist; a typo costs nothing.
    """
    targets = {one.name: catalog.expand_targets(one.targets) for one in matrix.targets}
    for one in matrix.recipes:
        ladder.check_name(one.recipe)
        check_objective(one.optimize, one.recipe)
    sources = {one.name: _source(one, base) for one in matrix.models}
    return tuple(
        Cell(
            cell,
            BuildRequest(
                model=sources[cell.model.name],
                targets=targets[cell.target.name],
                output=output.joinpath(*cell.name.split("/")),
                task=cell.model.task,
                data=base / cell.model.data if cell.model.data is not None else None,
                recipe=cell.recipe.recipe,
                revision=cell.model.revision,
                token=token,
                allow_unproven=cell.model.allow_unproven,
                allow_pickle=cell.model.allow_pickle,
                replace=True,
                optimize=cell.recipe.optimize,
                budget=cell.model.budget,
            ),
        )
        for cell in matrix.cells
    )


def find(cell: Cell) -> Found:
    """Fetch a cell's model, and say what its cells follow from.

    Nothing but its configuration is parsed: what was made of the same bytes is in the cache, and a worker that makes
    more inspects them.

    Raises:
        UsageError: No such model.
        InputError: The checkpoint or the data cannot be used.
    """
    request = cell.request
    checkpoint = fetch.requested(request, parse=False)
    files = keys.files_digest(checkpoint.folder)
    weights = sum(path.stat().st_size for path in checkpoint.folder.iterdir() if path.is_file())
    return Found(
        key=keys.original_key(checkpoint, files, request),
        files=files,
        memory_bytes=cell.spec.model.memory_bytes or _BASE_BYTES + _TIMES_WEIGHTS * weights,
    )


def _source(model: MatrixModel, base: Path) -> str:
    """A folder beside the file, unless the catalog has a model of that name."""
    if model.source not in catalog.models() and (base / model.source).is_dir():
        return str((base / model.source).resolve())
    return model.source
