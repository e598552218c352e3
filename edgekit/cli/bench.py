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

if TYPE_CHECKING:
    from edgekit.runtime import Embedder
    from edgekit.runtime.timing import Sample

SHAPES: Final = ((1, 16), (1, 128), (8, 128))  # texts at once, tokens each
SPECIAL_TOKENS: Final = 2  # one before and one after the text, in the BERT family
WARMUP: Final = 5
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
    from edgekit.runtime.timing import time_calls

    screen = Screen.of(context, as_json=as_json, debug=debug)
    embedders = [load(bundle, variant=variant, threads=threads)]
    embedders += [load(other, threads=threads) for other in against or ()]
    contestants = dict(zip(_labels(embedders), embedders, strict=True))
    results = {}
    for batch, tokens in SHAPES:
        if any(tokens > embedder.manifest.text.max_length for embedder in embedders):
            continue
        texts = make_texts(batch, tokens)
        with _spinning(f"{batch} x {tokens} tokens, {rounds} rounds", screen):
            results[batch, tokens] = time_calls(
                {label: _call(embedder, texts) for label, embedder in contestants.items()},
                rounds=rounds,
                warmup=WARMUP,
            )
    used = threads or usable_threads()
    if screen.json:
        screen.result(_document(results, embedders[0], used))
    else:
        _show(results, embedders[0], used, screen)


def make_texts(batch: int, tokens: int) -> list[str]:
    """Texts that tokenize to about ``tokens`` each, special ones included, all different."""
    return [" ".join(islice(cycle(WORDS), row, row + tokens - SPECIAL_TOKENS)) for row in range(batch)]


def _call(embedder: Embedder, texts: list[str]) -> Callable[[], object]:
    return lambda: embedder.embed(texts, batch_size=len(texts))


def _labels(embedders: Sequence[Embedder]) -> list[str]:
    labels: list[str] = []
    for embedder in embedders:
        label = f"{embedder.manifest.name}/{embedder.variant.name}"
        count = sum(other.split("#")[0] == label for other in labels)
        labels.append(f"{label}#{count + 1}" if count else label)
    return labels


def _spinning(text: str, screen: Screen) -> Any:
    from contextlib import nullcontext

    console = screen.console(stderr=True)
    return console.status(f"  {text}") if console.is_terminal and not screen.json else nullcontext()


def _show(
    results: Mapping[tuple[int, int], Mapping[str, Sample]], embedder: Embedder, threads: int, screen: Screen
) -> None:
    from edgekit.cli.render import grid, heading, indented, plain, table

    known = [
        p for p in PERCENTILES if all(s.percentile_ms(p) is not None for r in results.values() for s in r.values())
    ]
    numbers = ["median ms", *(f"p{percentile} ms" for percentile in known), "ratio"]
    listing = table("texts x tokens", "bundle/variant", *numbers, numbers=numbers)
    for (batch, tokens), samples in results.items():
        listing.add_section()
        shape = f"{batch} x {tokens}"
        first = next(iter(samples.values())).median_ms
        for label, sample in samples.items():
            tail = [f"{sample.percentile_ms(percentile):.2f}" for percentile in known]
            listing.add_row(shape, plain(label), f"{sample.median_ms:.2f}", *tail, f"{sample.median_ms / first:.2f}")
            shape = ""
    host = embedder.host
    screen.show(
        heading("Latency of embed(), tokenization included"),
        indented(listing),
        "",
        grid(
            [
                ("on", f"{host.cpu_name} ({host.architecture}, {host.system}), {threads} threads"),
                ("note", "taken in turns: ratios hold, absolute times vary with the machine and its load"),
            ]
        ),
    )


def _document(
    results: Mapping[tuple[int, int], Mapping[str, Sample]], embedder: Embedder, threads: int
) -> dict[str, Any]:
    host = embedder.host
    return {
        "host": {"cpu": host.cpu_name, "architecture": host.architecture, "system": host.system, "threads": threads},
        "shapes": [
            {
                "texts": batch,
                "tokens": tokens,
                "samples": {
                    label: {"rounds": len(sample.values_ms), "median_ms": sample.median_ms, **_percentiles(sample)}
                    for label, sample in samples.items()
                },
            }
            for (batch, tokens), samples in results.items()
        ],
        "note": "taken in turns: ratios hold, absolute times vary",
    }


def _percentiles(sample: Sample) -> dict[str, float]:
    known = {f"p{percentile}_ms": sample.percentile_ms(percentile) for percentile in PERCENTILES}
    return {name: value for name, value in known.items() if value is not None}
