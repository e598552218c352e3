"""Ask a model of any task from the command line, and show what it answers."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edgekit.cli.screen import Screen
from edgekit.errors import DataError, UsageError
from edgekit.spec.reader import nearest

if TYPE_CHECKING:
    from edgekit.runtime import Model

ROWS_SHOWN: Final = 20
VALUES_SHOWN: Final = 3


def read_options(options: Sequence[str]) -> dict[str, Any]:
    """``NAME=VALUE`` pairs; a value is JSON where it can be read so, else text, and ``@FILE`` is a file's text.

    Raises:
        UsageError: A pair has no name.
        DataError: A file cannot be read.
    """
    read: dict[str, Any] = {}
    for option in options:
        name, separator, value = option.partition("=")
        if not separator or not name.isidentifier():
            raise UsageError(f"--set {option!r}: expected NAME=VALUE", hint="for example --set top_k=3")
        read[name] = _file(Path(value[1:])) if value.startswith("@") else _value(value)
    return read


def ask(model: Model, inputs: Sequence[str], options: Mapping[str, Any]) -> list[Any]:
    """One answer for each input, in the shape ``transformers.pipeline`` gives it.

    An input that is a JSON object is one with fields, such as a question and its context.

    Raises:
        UsageError: The task has no such option.
    """
    known = _options(model.__call__)
    for name in options:
        if name not in known:
            raise UsageError(
                f"--set {name}: {model.manifest.task} has no such option",
                hint=nearest(name, known) or f"its options: {', '.join(known)}",
            )
    answers: list[Any] = model([_fields(text) for text in inputs], **options)
    return [answers] if model.unwraps_one and len(inputs) == 1 else answers


def stream(model: Model, text: str, options: Mapping[str, Any]) -> Iterator[str] | None:
    """The text that a generating model writes, piece by piece; None where only whole answers have what is asked for."""
    from edgekit.runtime import Generator, Seq2Seq

    if not isinstance(model, Generator | Seq2Seq) or not set(options) <= set(_options(model.stream)):
        return None
    return model.stream(text, **options)


def show(inputs: Sequence[str], answers: Sequence[Any], model: Model, screen: Screen) -> None:
    """A table: for each input its answers, a column for each field they have."""
    from edgekit.cli.render import heading, indented, plain, shortened, table

    listed = [(text, _rows(answer)) for text, answer in zip(inputs, answers, strict=True)]
    rows = [row for _, found in listed for row in found if isinstance(row, Mapping)]
    columns = list(dict.fromkeys(name for row in rows for name in row)) or ["answer"]
    numbers = [name for name in columns if all(isinstance(row.get(name, 0), int | float) for row in rows)]
    listing = table(
        "", "input", *columns, numbers=["", *numbers], fold=[name for name in columns if name not in numbers]
    )
    for place, (text, found) in enumerate(listed[:ROWS_SHOWN], start=1):
        listing.add_section()
        for index, row in enumerate(found or [{}]):
            values = row if isinstance(row, Mapping) else {"answer": row}
            first = (str(place), shortened(text, 28)) if index == 0 else ("", "")
            listing.add_row(*first, *(plain(_cell(values.get(name, ""))) for name in columns))
    screen.show(heading(f"{model.manifest.task} by {model.variant.name}"), indented(listing))
    if len(listed) > ROWS_SHOWN:
        screen.show(f"  and {len(listed) - ROWS_SHOWN} more; --json holds them all")


def _options(asked: Callable[..., Any]) -> tuple[str, ...]:
    return tuple(inspect.signature(asked).parameters)[1:]  # the first are the inputs


def _rows(answer: Any) -> list[Any]:
    if isinstance(answer, Mapping) and {"labels", "scores"} <= answer.keys():  # of zero-shot-classification
        pairs = zip(answer["labels"], answer["scores"], strict=True)
        return [{"label": label, "score": score} for label, score in pairs]
    return answer if isinstance(answer, list) else [answer]


def _cell(value: Any) -> str:
    shape, numbers = _numbers(value)
    if shape:
        return f"{' x '.join(map(str, shape))}: {' '.join(f'{number:+.4f}' for number in numbers)} …"
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _numbers(value: Any) -> tuple[tuple[int, ...], list[float]]:
    """Shape and first values of numbers in nested lists, such as features; an empty shape where it is none."""
    shape = []
    while isinstance(value, list) and value and isinstance(value[0], list):
        shape.append(len(value))
        value = value[0]
    if not isinstance(value, list) or not value or not all(isinstance(one, float) for one in value):
        return (), []
    return (*shape, len(value)), value[:VALUES_SHOWN]


def _fields(text: str) -> Any:
    if text.lstrip().startswith("{"):
        try:
            return json.loads(text)
        except ValueError:
            return text  # a text that only looks like an object
    return text


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _file(path: Path) -> str:
    try:
        return path.read_text("utf-8-sig")
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}", hint="check the path given to --set") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 at byte {error.start}", hint="save the file as UTF-8") from error
