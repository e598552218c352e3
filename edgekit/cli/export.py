"""``edgekit export``: ask the pipeline for a bundle and show how it went."""

from __future__ import annotations

import contextlib
import json
import math
import re
import shlex
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgekit.cli.build_side import build_side
from edgekit.cli.records import complete_model, complete_target
from edgekit.cli.screen import DebugFlag, JsonFlag, Screen
from edgekit.cli.tracking import ExperimentOption, LogBundleFlag, TrackOption, open_tracker, tracked_build
from edgekit.errors import UsageError

if TYPE_CHECKING:
    from edgekit.pipeline import BuildRequest, BuildResult
    from edgekit.spec.manifest import Manifest

SOURCE, CHOICE, RESULT = "Where the model comes from", "How it is made", "Where it goes"


def export(  # noqa: PLR0913 - each is an option of the command
    context: typer.Context,
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A name from `edgekit models`, a local folder, or a hub id.",
            autocompletion=complete_model,
            show_default=False,
        ),
    ],
    *,
    target: Annotated[
        list[str],
        typer.Option(
            "--target",
            "-t",
            metavar="TARGET",
            help="A device class from `edgekit targets`, or all for every CPU. May be given again.",
            autocompletion=complete_target,
            show_default=False,
        ),
    ],
    task: Annotated[
        str | None,
        typer.Option(metavar="TASK", help="The task; the checkpoint's own otherwise.", rich_help_panel=CHOICE),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Texts to judge with; a built-in English corpus otherwise.", rich_help_panel=CHOICE
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            metavar="RECIPE",
            help="Try only this recipe, such as fp32 or int8-dynamic; the smallest and fastest that passes otherwise.",
            rich_help_panel=CHOICE,
        ),
    ] = None,
    optimize: Annotated[
        str | None,
        typer.Option(
            metavar="WHAT",
            help="Try every recipe and ship the best in latency, size or accuracy; goes on where it was interrupted.",
            rich_help_panel=CHOICE,
        ),
    ] = None,
    budget: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="A bound of the parity budget, such as neighbours_min=0.95. May be given again.",
            rich_help_panel=CHOICE,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR",
            help="The bundle's folder; bundles/NAME otherwise.",
            rich_help_panel=RESULT,
        ),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace a bundle that is already there.", rich_help_panel=RESULT)
    ] = False,
    revision: Annotated[
        str | None,
        typer.Option(metavar="REV", help="A commit, tag or branch of the hub's repository.", rich_help_panel=SOURCE),
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(
            metavar="TOKEN",
            help="Access token of the hub; HF_TOKEN or the saved one otherwise.",
            rich_help_panel=SOURCE,
        ),
    ] = None,
    allow_pickle: Annotated[
        bool,
        typer.Option("--allow-pickle", help="Read pickled weights, which can run code.", rich_help_panel=SOURCE),
    ] = False,
    allow_unproven: Annotated[
        bool,
        typer.Option(
            "--allow-unproven",
            help="Keep a variant that the data, or this machine, cannot prove; it stays marked so.",
            rich_help_panel=CHOICE,
        ),
    ] = False,
    track: TrackOption = None,
    experiment: ExperimentOption = None,
    log_bundle: LogBundleFlag = False,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Make a bundle: export the model, judge every variant against the original, keep what passes."""
    from edgekit import catalog

    screen = Screen.of(context, as_json=as_json, debug=debug)
    targets = catalog.expand_targets(target)  # before torch is imported: a typo should cost nothing
    folder = output or Path("bundles") / _folder_name(model)
    tracker = open_tracker(track, experiment, log_bundle=log_bundle)
    with build_side():
        from edgekit.pipeline import BuildRequest

        request = BuildRequest(
            model=model,
            targets=targets,
            output=folder,
            task=task,
            data=data,
            recipe=recipe,
            revision=revision,
            token=token,
            allow_unproven=allow_unproven,
            allow_pickle=allow_pickle,
            replace=replace,
            optimize=optimize,
            budget=_bounds(budget or ()),
        )
        with tracked_build(tracker, request):
            result = _build(request, screen)
    if screen.json:
        manifest = json.loads(result.manifest.to_json())
        screen.result({"bundle": str(result.bundle), "manifest": manifest, "evidence": dict(result.evidence)})
    else:
        _show(result, screen)


def _bounds(texts: Sequence[str]) -> dict[str, float]:
    bounds: dict[str, float] = {}
    for text in texts:
        name, _, value = (part.strip() for part in text.partition("="))
        try:
            bound = float(value) if name else math.nan
        except ValueError:
            bound = math.nan
        if math.isnan(bound):
            raise UsageError(f"--budget {text}: expected NAME=VALUE, such as neighbours_min=0.95")
        if not 0 <= bound <= 2:  # shares, cosines and ratios
            raise UsageError(f"--budget {text}: expected a number from 0 to 2")
        if name in bounds:
            raise UsageError(f"--budget {text}: {name} is given twice")
        bounds[name] = bound
    return bounds


def _build(request: BuildRequest, screen: Screen) -> BuildResult:
    from edgekit.cli.progress import StageList
    from edgekit.pipeline import build

    stages = StageList(screen.console(stderr=True))
    # Libraries below print to standard output, which belongs to the result.
    with stages.drawing() as progress, contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings():
        if not screen.debug:
            warnings.simplefilter("ignore")
        return build(request, progress)


def _show(result: BuildResult, screen: Screen) -> None:
    from edgekit.cli import render_bundle
    from edgekit.cli.render import grid, heading, size
    from edgekit.spec.evidence import PARITY_EVIDENCE, read_evidence
    from edgekit.spec.reader import parse_json

    evidence = read_evidence(parse_json(json.dumps(dict(result.evidence)).encode(), PARITY_EVIDENCE))
    total = sum(entry.size for entry in result.manifest.files)
    path = shlex.quote(str(result.bundle))
    screen.show(*render_bundle.summary(result.manifest, evidence))
    if evidence.search:
        screen.show(*render_bundle.search(evidence))
    elif evidence.tried:
        screen.show("", grid([("left", ", ".join(dict.fromkeys(attempt.recipe for attempt in evidence.tried)))]))
    screen.show(
        "",
        grid([("bundle", f"{result.bundle}  ({size(total)})")]),
        heading("Next"),
        f"  edgekit verify {path}",
        f"  edgekit run {path} {_example(result.manifest)}",
    )


def _example(manifest: Manifest) -> str:
    """What to ask, in the shell's words."""
    for section, example in (("image", "picture.png"), ("audio", "sound.wav")):
        if section in manifest.settings:
            return example
    if manifest.task == "feature-extraction":
        return '"The first sentence." "A second one."'
    fields = {"question-answering": ("question", "context"), "text-ranking": ("query", "documents")}
    named = dict.fromkeys(fields.get(manifest.task, ()), "…")
    return f"'{json.dumps(named, ensure_ascii=False)}'" if named else '"Some text."'


def _folder_name(model: str) -> str:
    last = model.replace("\\", "/").rstrip("/").rpartition("/")[2]
    return re.sub(r"[^A-Za-z0-9._+-]+", "-", last).strip("-.") or "model"
