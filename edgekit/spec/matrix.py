"""A matrix: models, targets and recipes, of which every combination is a cell. Read from the user's TOML."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from edgekit.errors import RecordError
from edgekit.spec.reader import Table, nearest

CLIMB: Final = "climb"
MAX_CELLS: Final = 4096
MAX_MEMORY_MB: Final = 1 << 24
_NAME: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._+-]*[A-Za-z0-9_+-])?", re.ASCII)  # also the name of a folder


@dataclass(frozen=True, slots=True)
class MatrixModel:
    """One model of a matrix.

    Attributes:
        name: For people, and its folder's.
        source: A name of the catalog, a folder, or a hub id.
        task: The checkpoint's own where None.
        revision: Of the hub id.
        data: A file to judge with; edgekit's own where None.
        budget: Bounds in the place of the task's own.
        allow_unproven: Whether what cannot be proven is good.
        allow_pickle: Whether pickled weights may be read.
        memory_bytes: What making one of its cells takes at most; estimated where None.
    """

    name: str
    source: str
    task: str | None = None
    revision: str | None = None
    data: str | None = None
    budget: Mapping[str, float] = field(default_factory=dict)
    allow_unproven: bool = False
    allow_pickle: bool = False
    memory_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class MatrixTarget:
    """One column: the targets that a cell's bundle serves, and what a cluster's node must offer to make it.

    Attributes:
        name: For people, and its folder's.
        targets: Names of targets, or ``all``.
        resources: Ray's resources by name, such as ``{"arm64": 1}``; of no meaning on one machine.
    """

    name: str
    targets: tuple[str, ...]
    resources: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MatrixRecipe:
    """How a cell is made: one recipe, or a search; the climb where both are None."""

    name: str
    recipe: str | None = None
    optimize: str | None = None


@dataclass(frozen=True, slots=True)
class MatrixCell:
    """One combination."""

    model: MatrixModel
    target: MatrixTarget
    recipe: MatrixRecipe

    @property
    def name(self) -> str:
        """``model/target/recipe``: for people, and the folder of its bundle."""
        return f"{self.model.name}/{self.target.name}/{self.recipe.name}"


@dataclass(frozen=True, slots=True)
class Matrix:
    """What to build. Cells come model by model, in the order of the file."""

    models: tuple[MatrixModel, ...]
    targets: tuple[MatrixTarget, ...]
    recipes: tuple[MatrixRecipe, ...]
    excluded: tuple[Mapping[str, str], ...] = ()

    @property
    def cells(self) -> tuple[MatrixCell, ...]:
        """Every combination that is not excluded."""
        return tuple(
            cell
            for model in self.models
            for target in self.targets
            for recipe in self.recipes
            if not self._excludes(cell := MatrixCell(model, target, recipe))
        )

    def _excludes(self, cell: MatrixCell) -> bool:
        names = {"model": cell.model.name, "target": cell.target.name, "recipe": cell.recipe.name}
        return any(all(names[axis] == name for axis, name in rule.items()) for rule in self.excluded)

    @classmethod
    def read(cls, table: Table) -> Matrix:
        """Read a specification.

        Raises:
            RecordError: A key is missing, unknown or of the wrong type or value, an exclusion names what is not there
                or leaves no cell, or there are more than :data:`MAX_CELLS`.
        """
        matrix = cls(
            models=tuple(_model(name, item) for name, item in _entries(table, "models", "source")),
            targets=tuple(_target(name, item) for name, item in _entries(table, "targets", "targets")),
            recipes=(
                tuple(_recipe(name, item) for name, item in _entries(table, "recipes", "recipe"))
                if "recipes" in table
                else (MatrixRecipe(CLIMB),)
            ),
            excluded=tuple(_rules(table)),
        )
        table.done()
        matrix._check(table)
        return matrix

    def _check(self, table: Table) -> None:
        known = {
            "model": tuple(model.name for model in self.models),
            "target": tuple(target.name for target in self.targets),
            "recipe": tuple(recipe.name for recipe in self.recipes),
        }
        for rule in self.excluded:
            for axis, name in rule.items():
                if name not in known[axis]:
                    hint = nearest(name, known[axis]) or f"there are {', '.join(known[axis])}"
                    raise RecordError(f"{table.path}: exclude: there is no {axis} {name!r}", hint=hint)
        if len(self.models) * len(self.targets) * len(self.recipes) > MAX_CELLS:
            raise RecordError(f"{table.path}: more than {MAX_CELLS} cells", hint="split it into several files")
        if not self.cells:
            raise RecordError(f"{table.path}: exclude: leaves no cell")


def _entries(table: Table, key: str, short: str) -> Iterator[tuple[str, Table]]:
    """Named tables, or a list of strings, each of which is its own name and the value of ``short``."""
    value = table.raw(key)
    if isinstance(value, dict):
        found = list(table.named_tables(key))
    else:
        names = table.strings(key)
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise table.error(key, f"{twice!r} is there twice")
        found = [(_short_name(name), _shorthand(name, short, f"{table.path}: {key}")) for name in names]
    if not found:
        raise table.error(key, "is empty")
    folded: dict[str, str] = {}
    for name, item in found:
        if not _NAME.fullmatch(name):
            raise RecordError(
                f"{item.path}: {name!r} cannot be the name of a folder",
                hint="letters, digits, and . _ + - inside; name it as a table",
            )
        other = folded.setdefault(name.lower(), name)  # on macOS and Windows they would be one folder
        if other != name or sum(name == entry for entry, _ in found) > 1:
            raise table.error(key, f"{other!r} and {name!r} would be the same folder")
    yield from found


def _short_name(value: str) -> str:
    """``owner/name`` and ``folder/name`` are called ``name``."""
    return value.replace("\\", "/").rstrip("/").rpartition("/")[2]


def _shorthand(value: str, short: str, path: str) -> Table:
    return Table({short: [value] if short == "targets" else value}, f"{path}: {value}")


def _model(name: str, table: Table) -> MatrixModel:
    model = MatrixModel(
        name=name,
        source=table.string("source") if "source" in table else name,
        task=table.string("task") if "task" in table else None,
        revision=table.string("revision") if "revision" in table else None,
        data=table.string("data") if "data" in table else None,
        budget=_numbers(table, "budget", maximum=2),  # shares, cosines and ratios
        allow_unproven="allow_unproven" in table and table.boolean("allow_unproven"),
        allow_pickle="allow_pickle" in table and table.boolean("allow_pickle"),
        memory_bytes=(
            table.integer("memory_mb", minimum=1, maximum=MAX_MEMORY_MB) * 1_000_000 if "memory_mb" in table else None
        ),
    )
    table.done()
    return model


def _target(name: str, table: Table) -> MatrixTarget:
    target = MatrixTarget(
        name=name,
        targets=table.strings("targets") if "targets" in table else (name,),
        resources=_numbers(table, "resources", maximum=1e6),
    )
    table.done()
    return target


def _recipe(name: str, table: Table) -> MatrixRecipe:
    recipe = table.string("recipe") if "recipe" in table else None
    optimize = table.string("optimize") if "optimize" in table else None
    table.done()
    if recipe is not None and optimize is not None:
        raise table.error("optimize", "chooses the recipe: leave out recipe")
    return MatrixRecipe(name, None if recipe == CLIMB else recipe, optimize)


def _rules(table: Table) -> Iterator[Mapping[str, str]]:
    if "exclude" not in table:
        return
    for item in table.tables("exclude", max_items=MAX_CELLS):
        rule = {axis: item.string(axis) for axis in ("model", "target", "recipe") if axis in item}
        item.done()
        if not rule:
            raise RecordError(f"{item.path}: names no model, target or recipe")
        yield rule


def _numbers(table: Table, key: str, *, maximum: float) -> dict[str, float]:
    if key not in table:
        return {}
    inner = table.table(key)
    return {name: inner.number(name, minimum=0, maximum=maximum) for name in inner.names()}
