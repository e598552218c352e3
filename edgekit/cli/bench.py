"""``edgekit bench``: latency of one bundle, or of several side by side in the same run."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from edgekit.cli.installing import StoreOption
from edgekit.cli.run import OpenedArgument, ThreadsOption, VariantOption
from edgekit.cli.screen import DebugFlag, JsonFlag, Screen

if TYPE_CHECKING:
    from edgekit.runtime import Model
    from edgekit.runtime.timing import Sample

WARMUP: Final = 5
ASKED_ONCE: Final = 10  # rounds that one long workload stands for


def bench(  # noqa: PLR0913 - each is an option of the command
    context: typer.Context,
    bundle: OpenedArgument,
    *,
    against: Annotated[
        list[str] | None,
        typer.Option(metavar="BUNDLE", help="Another bundle to time in turns with it. May be given again."),
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, metavar="N", help="Calls per shape and bundle.")] = 100,
    variant: VariantOption = None,
    threads: ThreadsOption = None,
    store: StoreOption = None,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Time a bundle on this machine; with --against, in turns with another one."""
    from edgekit.runtime import load
    from edgekit.runtime.host import usable_threads

    screen = Screen.of(context, as_json=as_json, debug=debug)
    models = [load(bundle, variant=variant, threads=threads, store=store)]
    models += [load(other, threads=threads, store=store) for other in against or ()]
    contestants = dict(zip(_labels(models), models, strict=True))
    results = _timed(contestants, rounds, screen)
    used = threads or usable_threads()
    if screen.json:
        screen.result(_document(results, models[0], used))
    else:
        _show(results, models[0], used, screen)


def _timed(contestants: Mapping[str, Model], rounds: int, screen: Screen) -> dict[str, Mapping[str, Sample]]:
    """Durations by what took them and by bundle."""
    from edgekit.runtime.timing import take_turns
    from edgekit.runtime.workloads import workloads

    models = list(contestants.values())
    results: dict[str, Mapping[str, Sample]] = {}
    for workload in workloads(
        [model.manifest for model in models], lambda: [case.input for case in models[0].golden()]
    ):
        times = max(1, rounds // ASKED_ONCE) if workload.long else rounds
        with _spinning(f"{workload.name}, {times} rounds", screen):
            samples = take_turns(
                {label: partial(workload.ask, model, time.perf_counter_ns) for label, model in contestants.items()},
                rounds=times,
                warmup=1 if workload.long else WARMUP,
            )
        results |= {what: {label: samples[label][what] for label in contestants} for what in workload.measures}
    return results


def _labels(models: Sequence[Model]) -> list[str]:
    labels: list[str] = []
    for model in models:
        label = f"{model.manifest.name}/{model.variant.name}"
        count = sum(other.split("#")[0] == label for other in labels)
        labels.append(f"{label}#{count + 1}" if count else label)
    return labels


def _spinning(text: str, screen: Screen) -> Any:
    from contextlib import nullcontext

    console = screen.console(stderr=True)
    return console.status(f"  {text}") if console.is_terminal and not screen.json else nullcontext()


def _show(results: Mapping[str, Mapping[str, Sample]], model: Model, threads: int, screen: Screen) -> None:
    from edgekit.cli.render import grid, heading, indented, plain, table
    from edgekit.runtime.timing import LEAST_SAMPLES

    known = [
        p for p in LEAST_SAMPLES if all(s.percentile_ms(p) is not None for r in results.values() for s in r.values())
    ]
    numbers = ["median ms", *(f"p{percentile} ms" for percentile in known), "ratio"]
    listing = table("inputs", "bundle/variant", *numbers, numbers=numbers)
    for shape, samples in results.items():
        listing.add_section()
        first = next(iter(samples.values())).median_ms
        for label, sample in samples.items():
            tail = [f"{sample.percentile_ms(percentile):.2f}" for percentile in known]
            listing.add_row(shape, plain(label), f"{sample.median_ms:.2f}", *tail, f"{sample.median_ms / first:.2f}")
            shape = ""  # noqa: PLW2901 - said once
    host = model.host
    screen.show(
        heading("Latency of an answer, preprocessing included"),
        indented(listing),
        "",
        grid(
            [
                ("on", f"{host.cpu_name} ({host.architecture}, {host.system}), {threads} threads"),
                ("note", "taken in turns: ratios hold, absolute times vary with the machine and its load"),
            ]
        ),
    )


def _document(results: Mapping[str, Mapping[str, Sample]], model: Model, threads: int) -> dict[str, Any]:
    host = model.host
    return {
        "host": {"cpu": host.cpu_name, "architecture": host.architecture, "system": host.system, "threads": threads},
        "workloads": [
            {
                "inputs": name,
                "samples": {
                    label: {"rounds": len(sample.values_ms), "median_ms": sample.median_ms, **sample.percentiles_ms()}
                    for label, sample in samples.items()
                },
            }
            for name, samples in results.items()
        ],
        "note": "taken in turns: ratios hold, absolute times vary",
    }
