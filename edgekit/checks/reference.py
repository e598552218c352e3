"""Judge a sealed bundle once more against the original model, as the export that made it did."""

from __future__ import annotations

import tempfile
from pathlib import Path

from edgekit.bundle.reading import Bundle
from edgekit.checks.findings import INCONCLUSIVE, Finding
from edgekit.checks.parity import judged
from edgekit.checks.sides import Sides
from edgekit.errors import DataError, HostError, InputError
from edgekit.runtime.loading import open_variant
from edgekit.spec.parity import BUDGETS, Budget
from edgekit.spec.progress import Progress
from edgekit.spec.task import MEASURES


def again(sides: Sides, model: str, data_file: Path | None, progress: Progress) -> list[Finding]:
    """Ask the original and every variant of the new bundle that runs here.

    Args:
        sides: The bundles.
        model: A name of the catalog, a folder or a hub id.
        data_file: Inputs to judge on; the model's own or the built-in ones where None.
        progress: Told how many inputs the original has answered.

    Raises:
        InputError: The model or the data cannot be used, or it is not the model that the bundle was made from.
        ExportError: The original cannot be loaded.
    """
    # Here, since these bring torch, which a check without --reference does not need.
    from edgekit.stages import data, evaluate, fetch, reference

    manifest = sides.new.manifest
    checkpoint = fetch.fetch(model)
    if checkpoint.source.weights_sha256 != manifest.source.weights_sha256:
        raise InputError(
            f"--reference {model}: its weights are not those that the bundle was made from",
            hint=f"the bundle names {manifest.source.name}, revision {manifest.source.revision}",
        )
    with tempfile.TemporaryDirectory() as work:
        original = reference.load_reference(checkpoint, manifest.task, Path(work))
        own = data.read_apart(*checkpoint.own_data) if checkpoint.own_data else None
        dataset = (data.read_rows(data_file) if data_file else None) or own or original.builtin()
        if dataset is None:
            raise DataError(f"edgekit has no data of its own to judge {manifest.task} on", hint="give some with --data")
        budgets = {**BUDGETS[MEASURES[manifest.task]], **(checkpoint.card.budgets if checkpoint.card else {})}
        samples_min = max(budget.samples_min for budget in budgets.values())
        answers = evaluate.ask(original, dataset, samples_min=samples_min, advance=progress.advance)
    return [finding for pair in sides.pairs for finding in _judge(sides.new, pair.new.name, answers, budgets)]


def _judge(bundle: Bundle, name: str, answers: object, budgets: dict[str, Budget]) -> list[Finding]:
    from edgekit.stages import evaluate

    assert isinstance(answers, evaluate.Answers)  # noqa: S101 - its module is not imported at the top
    variant = bundle.manifest.variant(name)
    try:
        with open_variant(bundle, variant) as model:
            parity = evaluate.evaluate(model, answers, budgets[variant.precision], ())
    except HostError as error:
        return [Finding("parity", f"{name}: against the reference", INCONCLUSIVE, detail=error.message)]
    return judged(f"{name}, against the reference", parity)
