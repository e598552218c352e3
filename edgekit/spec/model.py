"""A model card of the catalog: where the checkpoint comes from, pinned how, under which licence."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from edgekit.spec.parity import BUDGETS, Budget
from edgekit.spec.reader import Table, nearest
from edgekit.spec.task import MEASURES

_INSIDE: Final = r"(?!\.)[\w.-]+(/(?!\.)[\w.-]+)*"  # never absolute, no parent steps, nothing hidden


@dataclass(frozen=True, slots=True)
class Published:
    """A checkpoint that lies on the hub; its commit and digest pin it.

    Attributes:
        hub_id: The repository on the hub.
        revision: Its commit, 40 hexadecimal digits; a branch pins nothing and is refused.
        weights_sha256: Digest the weight file must have, wherever it comes from.
        package: A package of the Python registry with the same weights, for machines without the
            hub, as pip names it; None where there is none.
        module: The package's import name; empty without a package.
        package_path: The checkpoint's folder inside the module; empty without a package.
    """

    hub_id: str
    revision: str
    weights_sha256: str
    package: str | None
    module: str
    package_path: str


@dataclass(frozen=True, slots=True)
class Trained:
    """A checkpoint made on the user's machine by edgekit's own code; that code's digest pins it.

    Sums in another order give other weights on another CPU, so there is no digest of weights to hold it to.

    Attributes:
        trainer: A file of ``models/training``, without ``.py``.
        reads: Distributions whose files or data it learns from, beside Python's own.
    """

    trainer: str
    reads: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ModelCard:
    """A model edgekit knows by a short name, from a TOML record in ``models/``.

    Attributes:
        name: The short name, for example ``minilm``.
        summary: One line for people.
        task: A Hugging Face task name.
        license: SPDX identifier in lower case.
        origin: Where its checkpoint comes from.
        budgets: By precision, the budgets this card tightens, complete.
    """

    name: str
    summary: str
    task: str
    license: str
    origin: Published | Trained
    budgets: Mapping[str, Budget]

    @classmethod
    def read(cls, name: str, table: Table) -> ModelCard:
        """Read a record.

        Raises:
            RecordError: A key is missing (revision and licence too), unknown or of the wrong type or
                value, or a budget is looser than the table's.
        """
        task = table.string("task", choices=tuple(MEASURES))
        card = cls(
            name=name,
            summary=table.string("summary"),
            task=task,
            license=_matching(table, "license", r"[a-z0-9][a-z0-9.+-]*", "an SPDX identifier in lower case"),
            origin=_read_trained(table) if "trained_by" in table else _read_published(table),
            budgets=_read_budgets(table, BUDGETS[MEASURES[task]]) if "budget" in table else {},
        )
        table.done()
        return card


def _read_published(table: Table) -> Published:
    package = "package" in table
    return Published(
        hub_id=_matching(table, "hub_id", r"[\w.-]+/[\w.-]+", "an id like 'owner/name'"),
        revision=_matching(table, "revision", r"[0-9a-f]{40}", "a commit (40 hexadecimal digits)"),
        weights_sha256=_matching(table, "weights_sha256", r"[0-9a-f]{64}", "64 lower-case hexadecimal digits"),
        package=_matching(table, "package", r"[A-Za-z0-9][\w.-]*", "a distribution's name") if package else None,
        module=_matching(table, "module", r"[A-Za-z_]\w*", "an import name") if package else "",
        package_path=_matching(table, "package_path", _INSIDE, "a relative folder") if package else "",
    )


def _read_trained(table: Table) -> Trained:
    return Trained(
        trainer=_matching(table, "trained_by", r"[a-z]\w*", "a file of models/training, without .py"),
        reads=table.strings("reads") if "reads" in table else (),
    )


def _read_budgets(table: Table, defaults: Mapping[str, Budget]) -> dict[str, Budget]:
    budgets: dict[str, Budget] = {}
    for precision, limits in table.named_tables("budget"):
        if precision not in defaults:
            hint = nearest(precision, tuple(defaults))
            raise table.error("budget", f"{precision!r} is no precision with a budget{f'; {hint}' if hint else ''}")
        budgets[precision] = _tightened(defaults[precision], limits)
    return budgets


def _tightened(budget: Budget, limits: Table) -> Budget:
    samples_min, changed = budget.samples_min, dict(budget.limits)
    if "samples_min" in limits:
        samples_min = limits.integer("samples_min")
        _refuse_looser(limits, "samples_min", samples_min, budget.samples_min)
    for name, current in budget.limits.items():
        if name in limits:
            changed[name] = limits.number(name)
            _refuse_looser(limits, name, changed[name], current)
    limits.done()
    return Budget(samples_min, changed)


def _refuse_looser(limits: Table, name: str, value: float, current: float) -> None:
    if value > current if name.endswith("_max") else value < current:
        raise limits.error(name, f"{value:g} is looser than {current:g}; a card may only tighten")


def _matching(table: Table, key: str, pattern: str, expected: str) -> str:
    value = table.string(key)
    if not re.fullmatch(pattern, value, re.ASCII):
        raise table.error(key, f"expected {expected}, found {value!r}")
    return value
