"""How a task is asked over HTTP: inputs and options out of a request, and the answers put together.

Answers have the shape that calling the runtime with the same inputs and options gives.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from pydantic import TypeAdapter

from edgekit.errors import InputError
from edgekit.serve.jobs import Ask
from edgekit.serve.schemas.strict import Request

if TYPE_CHECKING:
    from edgekit.runtime import Model

PREFIX: Final = "/v1/"
IMAGE, AUDIO = "image", "audio"

Shape = Callable[[Sequence[Any], bool, Request], Any]
"""Puts answers together: the answers, whether the inputs were a list, and the request."""


def call(model: Model, items: list[Any], options: Mapping[str, Any], batch: int) -> Sequence[Any]:
    """What calling the model gives."""
    answers: Sequence[Any] = model(items, **options, batch_size=batch)  # type: ignore[call-arg]  # every task's has one
    return [answers] if model.unwraps_one and len(items) == 1 else answers


def states(model: Any, items: list[Any], _: Mapping[str, Any], __: int) -> Sequence[Any]:
    """Token states; their length differs from text to text, so there is no batch."""
    found: Sequence[Any] = model(items)
    return found


def vectors(model: Any, items: list[Any], _: Mapping[str, Any], batch: int) -> Sequence[Any]:
    """What ``embed`` gives."""
    found: Sequence[Any] = model.embed(items, batch_size=batch).tolist()
    return found


def plain(answers: Sequence[Any], several: bool, _: Request) -> Any:  # noqa: FBT001 - see Shape
    """A list for a list, else the one answer."""
    return answers if several else answers[0]


def unwrapped(answers: Sequence[Any], _: bool, __: Request) -> Any:  # noqa: FBT001 - see Shape
    """A list but for one answer, as some pipelines have it even for a list of one."""
    return answers[0] if len(answers) == 1 else answers


def listed(answers: Sequence[Any], _: bool, __: Request) -> Any:  # noqa: FBT001 - see Shape
    """A list, always."""
    return answers


def labels(answers: Sequence[Any], several: bool, asked: Request) -> Any:  # noqa: FBT001 - see Shape
    """As the pipeline has it: without ``top_k`` a single text is answered with a list, a single pair without one."""
    if several or (isinstance(asked.listed()[0][0], str) and "top_k" not in asked.options()):
        return answers
    return answers[0]


@dataclass(frozen=True)
class TaskRoute:
    """A task's route.

    Attributes:
        name: Last part of the path.
        summary: One line for people.
        request: The body.
        answer: The type of the answer.
        example: A body for people to try.
        media: ``image`` or ``audio`` where inputs are files.
        streams: Whether it can answer piece by piece.
        ask: Asks the model.
        shape: Puts its answers together.
    """

    name: str
    summary: str
    request: type[Request]
    answer: Any
    example: Mapping[str, Any]
    media: str = ""
    streams: bool = False
    ask: Ask = call
    shape: Shape = plain

    @property
    def path(self) -> str:
        """Of the route."""
        return PREFIX + self.name

    @cached_property
    def adapter(self) -> TypeAdapter[Any]:
        """Describes the answer."""
        return TypeAdapter(self.answer)

    def inputs(self, asked: Request) -> list[Any]:
        """The inputs as the runtime takes them, always as a list.

        Raises:
            InputError: A file is not base64.
        """
        items, _ = asked.listed()
        return [_file(index, item) for index, item in enumerate(items)] if self.media else items


def runs(items: Sequence[Any], options: Mapping[str, Any]) -> int:
    """Runs of the model that inputs ask for: one each, or one for each of its labels, documents or copies."""
    candidates = options.get("candidate_labels", ())
    each = candidates.count(",") + 1 if isinstance(candidates, str) else max(1, len(candidates))
    copies: int = options.get("num_return_sequences", 1)
    return copies * each * sum(max(1, len(item["documents"])) if _ranks(item) else 1 for item in items)


def texts(value: Any) -> Iterator[str]:
    """Every text in inputs or options, messages of chats included, to hold them against a limit."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from texts(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from texts(one)


def _ranks(item: Any) -> bool:
    return isinstance(item, Mapping) and "documents" in item


def _file(index: int, item: Any) -> bytes:
    if isinstance(item, bytes):
        return item
    try:
        return base64.b64decode(item, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InputError(f"input {index}: not base64: {error}", hint="standard alphabet, with padding") from error
