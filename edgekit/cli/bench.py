"""``edgekit bench``: latency of one bundle, or of several side by side in the same run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from edgekit.cli.inspection import BundleArgument
from edgekit.cli.run import ThreadsOption, VariantOption
from edgekit.cli.screen import DebugFlag, JsonFlag, Screen
from edgekit.spec.settings.text import TextSettings

if TYPE_CHECKING:
    from edgekit.runtime import Model
    from edgekit.runtime.answers import Input
    from edgekit.runtime.timing import Sample

SHAPES: Final = ((1, 16), (1, 128), (8, 128))  # texts at once, tokens each
BATCHES: Final = (1, 8)  # of other inputs
SPECIAL_TOKENS: Final = 2  # one before and one after the text, in the BERT family
WARMUP: Final = 5
TEXTS_OF_ROUNDS: Final = 10  # a text holds dozens of timed tokens
PERCENTILES: Final = (90, 95, 99)

# Words that English vocabularies hold whole, so that a word is a token.
WORDS: Final = (
    "the",
    "people",
    "of",
    "this",
    "city",
    "have",
    "been",
    "to",
    "a",
    "house",
    "by",
    "water",
    "many",
    "times",
)


def bench(  # noqa: PLR0913 - each is an option of the command
    context: typer.Context,
    bundle: BundleArgument,
    *,
    against: Annotated[
        list[Path] | None,
        typer.Option(metavar="BUNDLE", help="Another bundle to time in turns with it. May be given again."),
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, metavar="N", help="Calls per shape and bundle.")] = 100,
    variant: VariantOption = None,
    threads: ThreadsOption = None,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Time a bundle on this machine; with --against, in turns with another one."""
    from edgekit.runtime import load
    from edgekit.runtime.host import usable_threads

    screen = Screen.of(context, as_json=as_json, debug=debug)
    models = [load(bundle, variant=variant, threads=threads)]
    models += [load(other, threads=threads) for other in against or ()]
    contestants = dict(zip(_labels(models), models, strict=True))
    generated = _generated(contestants, rounds, screen)
    results = _asked(contestants, rounds, screen) if generated is None else generated
    used = threads or usable_threads()
    if screen.json:
        screen.result(_document(results, models[0], used))
    else:
        _show(results, models[0], used, screen)


def _asked(contestants: Mapping[str, Model], rounds: int, screen: Screen) -> dict[str, Mapping[str, Sample]]:
    """Durations of answers, by workload and bundle."""
    from edgekit.runtime.timing import time_calls

    results: dict[str, Mapping[str, Sample]] = {}
    for name, inputs in _workloads(list(contestants.values())).items():
        with _spinning(f"{name}, {rounds} rounds", screen):
            calls = {label: _call(model, inputs) for label, model in contestants.items()}
            results[name] = time_calls(calls, rounds=rounds, warmup=WARMUP)
    return results


def _generated(contestants: Mapping[str, Model], rounds: int, screen: Screen) -> dict[str, Mapping[str, Sample]] | None:
    """Durations of reading a prompt and of writing a token; None where a bundle does not continue texts."""
    from edgekit.runtime.generation import Generator
    from edgekit.runtime.generation_timing import NEW_TOKENS, PROMPT_TOKENS, time_generation

    generators = {label: model for label, model in contestants.items() if isinstance(model, Generator)}
    if len(generators) != len(contestants):
        return None
    texts = max(1, rounds // TEXTS_OF_ROUNDS)
    with _spinning(f"{PROMPT_TOKENS} tokens and {NEW_TOKENS} more, {texts} texts", screen):
        speeds = time_generation(generators, rounds=texts)
    return {
        f"{PROMPT_TOKENS} tokens read": {label: speed.prefill for label, speed in speeds.items()},
        "a token written": {label: speed.step for label, speed in speeds.items()},
    }


def make_texts(batch: int, tokens: int) -> list[str]:
    """Texts that tokenize to about ``tokens`` each, special ones included, all different."""
    return [" ".join(islice(cycle(WORDS), row, row + tokens - SPECIAL_TOKENS)) for row in range(batch)]


def _workloads(models: Sequence[Model]) -> dict[str, list[Input]]:
    """Batches by name: texts of given lengths where the task takes texts, else the bundle's own golden inputs."""
    golden = [case.input for case in models[0].golden()]
    if set(golden[0]) != {"text"}:
        names = " + ".join(golden[0])
        return {f"{batch} x {names}": list(islice(cycle(golden), batch)) for batch in BATCHES}
    return {
        f"{batch} x {tokens} tokens": [{"text": text} for text in make_texts(batch, tokens)]
        for batch, tokens in SHAPES
        if all(tokens <= model.manifest.section(TextSettings).max_length for model in models)
    }


def _call(model: Model, inputs: list[Input]) -> Callable[[], object]:
    return lambda: model.raw(inputs, batch_size=len(inputs))


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

    known = [
        p for p in PERCENTILES if all(s.percentile_ms(p) is not None for r in results.values() for s in r.values())
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
                    label: {"rounds": len(sample.values_ms), "median_ms": sample.median_ms, **_percentiles(sample)}
                    for label, sample in samples.items()
                },
            }
            for name, samples in results.items()
        ],
        "note": "taken in turns: ratios hold, absolute times vary",
    }


def _percentiles(sample: Sample) -> dict[str, float]:
    known = {f"p{percentile}_ms": sample.percentile_ms(percentile) for percentile in PERCENTILES}
    return {name: value for name, value in known.items() if value is not None}
