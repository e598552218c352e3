"""``edgekit run``: answers of a bundle for texts from the command line, a file or a pipe."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgekit.cli.asking import ask, read_options, show, stream
from edgekit.cli.installing import StoreOption
from edgekit.cli.screen import DebugFlag, JsonFlag, Screen
from edgekit.cli.signing import AllowUnsignedFlag, TrustOption, trusting
from edgekit.errors import DataError, OutputError, UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edgekit.runtime import Embedder, Model

VariantOption = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="A variant of the bundle; the best for this CPU otherwise.", show_default=False),
]
ThreadsOption = Annotated[
    int | None,
    typer.Option(min=1, metavar="N", help="Threads; what this process may use otherwise.", show_default=False),
]
OpenedArgument = Annotated[
    str,
    typer.Argument(
        metavar="BUNDLE", help="The bundle: its folder, a packed file, or an installed one's name.", show_default=False
    ),
]
STDIN = "-"
ROWS_SHOWN = 20
SIMILARITIES_SHOWN = 8


def run(  # noqa: PLR0913 - each is an option of the command
    context: typer.Context,
    bundle: OpenedArgument,
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[INPUT]...",
            help="Texts or files, whatever the task takes; - reads a pipe, one a line.",
            show_default=False,
        ),
    ] = None,
    *,
    file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Inputs, one a line, UTF-8.", show_default=False)
    ] = None,
    npy: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write vectors as a NumPy array instead.", show_default=False),
    ] = None,
    options: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="An option of the task, such as top_k=3. May be given again.",
            show_default=False,
        ),
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(
            metavar="TASK",
            help="Use it for this task, such as zero-shot-classification by embeddings; its own otherwise.",
            show_default=False,
        ),
    ] = None,
    variant: VariantOption = None,
    threads: ThreadsOption = None,
    store: StoreOption = None,
    trust: TrustOption = None,
    allow_unsigned: AllowUnsignedFlag = False,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Ask a bundle, as a device would."""
    screen = Screen.of(context, as_json=as_json, debug=debug)
    texts = _texts(inputs or [], file)
    chosen = read_options(options or [])
    from edgekit.runtime import Embedder

    asked = trusting(trust, allow_unsigned=allow_unsigned)
    model = opened(bundle, task, variant=variant, threads=threads, store=store, **asked)
    if isinstance(model, Embedder):
        if chosen:
            raise UsageError(
                f"--set {next(iter(chosen))}: embeddings have no options",
                hint="to score labels by embeddings, add --task zero-shot-classification",
            )
        _embed(model, texts, npy, screen)
        return
    if npy:
        raise UsageError(f"--npy is for bundles that embed, this one is for {model.manifest.task}")
    pieces = None if screen.json or len(texts) > 1 else stream(model, texts[0], chosen)
    if pieces is not None:
        screen.stream(pieces)
        return
    answers = ask(model, texts, chosen)
    if screen.json:
        screen.result({"answers": answers, "variant": model.variant.name})
        return
    show(texts, answers, model, screen)


def opened(bundle: str, task: str | None, **how: Any) -> Model:
    """A bundle, used for a task where one is named and for its own otherwise; ``how`` as ``load`` takes it."""
    from edgekit.runtime import load, pipeline

    return pipeline(task, bundle, **how) if task else load(bundle, **how)


def _embed(model: Embedder, texts: Sequence[str], npy: Path | None, screen: Screen) -> None:
    vectors = model.embed(texts)
    if npy:
        _write_npy(vectors, npy)
    if screen.json:
        # 9 significant digits give back the very float32.
        rows = [] if npy else [[float(f"{value:.9g}") for value in row] for row in vectors.tolist()]
        document: dict[str, Any] = {"npy": str(npy)} if npy else {"embeddings": rows}
        screen.result(document | {"variant": model.variant.name})
        return
    if npy:
        screen.show(f"{vectors.shape[0]} x {vectors.shape[1]} float32 written to {npy}")
        return
    _show(texts, vectors, model.variant.name, screen)


def _texts(inputs: Sequence[str], file: Path | None) -> list[str]:
    texts: list[str] = []
    for text in inputs:
        texts += _lines(sys.stdin.buffer.read(), "standard input") if text == STDIN else [text]
    if file:
        try:
            texts += _lines(file.read_bytes(), str(file))
        except OSError as error:
            raise DataError(
                f"{file}: cannot be read: {error.strerror}", hint="a text file, one input a line"
            ) from error
    if not texts:
        raise UsageError(
            "no input was given", hint='give texts, or --file FILE, or - to read a pipe: `run BUNDLE "Hi."`'
        )
    return texts


def _lines(data: bytes, name: str) -> list[str]:
    # Blank lines stay: row n of the answer belongs to line n.
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(f"{name}: line {line} is not UTF-8", hint="convert the file to UTF-8") from error
    lines = text.removesuffix("\n").split("\n") if text else []
    return [line.removesuffix("\r") for line in lines]


def _write_npy(vectors: NDArray[np.float32], path: Path) -> None:
    import numpy as np

    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with draft.open("wb") as stream:
            np.save(stream, vectors)
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise OutputError(f"{path}: cannot be written: {error.strerror}", hint="choose another file") from error


def _show(texts: Sequence[str], vectors: NDArray[np.float32], variant: str, screen: Screen) -> None:
    import numpy as np

    from edgekit.cli.render import heading, indented, shortened, table

    # Float64, so that the norm shown is the vector's and not the summation's.
    wide = vectors.astype(np.float64)
    norms = np.linalg.norm(wide, axis=1)
    listing = table("", "text", "dim", "norm", "first values", numbers=["", "dim", "norm"])
    for index, text in enumerate(texts[:ROWS_SHOWN]):
        first = " ".join(f"{value:+.4f}" for value in vectors[index, :3])
        listing.add_row(
            str(index + 1), shortened(text, 28), str(vectors.shape[1]), f"{norms[index]:.4f}", f"{first} ..."
        )
    screen.show(heading(f"Embeddings by {variant}"), indented(listing))
    if len(texts) > ROWS_SHOWN:
        screen.show(f"  and {len(texts) - ROWS_SHOWN} more; --json and --npy hold them all")
    if 1 < len(texts) <= SIMILARITIES_SHOWN:
        units = wide / np.maximum(norms, np.finfo(np.float64).tiny)[:, None]
        _show_similarities(texts, units @ units.T, screen)


def _show_similarities(texts: Sequence[str], cosines: NDArray[np.float64], screen: Screen) -> None:
    from rich.text import Text

    from edgekit.cli.render import heading, indented, shortened, table

    columns = [str(index + 1) for index in range(len(texts))]
    listing = table("", "cosine", *columns, numbers=["", *columns])
    for row, text in enumerate(texts):
        nearest = max((other for other in range(len(texts)) if other != row), key=lambda other: cosines[row, other])
        cells = [
            Text(f"{cosines[row, other]:.2f}", style="dim" if other == row else "bold" if other == nearest else "")
            for other in range(len(texts))
        ]
        listing.add_row(str(row + 1), shortened(text, 22), *cells)
    screen.show(heading("Similarity"), indented(listing))
