"""Answer questions from a context, as ``transformers.pipeline("question-answering")`` did up to version 4."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, ClassVar

from edgekit.errors import InputError, UsageError
from edgekit.runtime.answering import MAX_STRIDE, MAX_WINDOW, Search, Window, find_answers
from edgekit.runtime.answers import Input, Raw
from edgekit.runtime.encoded import Encoded, Stride
from edgekit.runtime.model import Model
from edgekit.runtime.opened import Opened
from edgekit.runtime.text_graph import TOKENS, Arrays, TextGraph, fields
from edgekit.spec.settings.answering import AnsweringSettings

_FIELDS = ("question", "context")


class QuestionAnswerer(Model):
    """An open bundle that finds answers in a context."""

    unwraps_one: ClassVar[bool] = True

    def __init__(self, opened: Opened) -> None:
        super().__init__(opened)
        self._settings = opened.section(AnsweringSettings)
        self._graph = TextGraph(opened)

    def __call__(  # noqa: PLR0913 - the pipeline's own arguments
        self,
        question: Any = None,
        context: str | Sequence[str] | None = None,
        *,
        top_k: int = 1,
        doc_stride: int | None = None,
        max_answer_len: int = 15,
        max_seq_len: int | None = None,
        max_question_len: int | None = None,
        handle_impossible_answer: bool = False,
        align_to_words: bool = True,
        batch_size: int = 1,
    ) -> dict[str, Any] | list[Any]:
        """The best answers.

        Args:
            question: A question, or several; or ``{"question", "context"}``, or a list of those.
            context: What the answers are taken from: one for all questions, or one for each.
            top_k: Answers wanted for each question.
            doc_stride: Tokens of the context that neighbouring windows share; None takes 128, or half a window.
            max_answer_len: Tokens of an answer, at most.
            max_seq_len: Tokens of a window; None takes 384, or the model's length where it is less.
            max_question_len: Tokens of the question, whose end is dropped beyond; None keeps it whole.
            handle_impossible_answer: Whether the empty answer takes part.
            align_to_words: Whether an answer grows to whole words.
            batch_size: Windows run at once, at most.

        Returns:
            ``{"score", "start", "end", "answer"}`` for one question with one answer, a list of them for one
            question with several, and a list of these for several questions. ``start`` and ``end`` count
            characters of the context.

        Raises:
            InputError: A question or context is missing, empty or no text, or the question leaves no room.
            UsageError: An argument makes no sense, or the model is closed.
            HostError: ONNX Runtime failed.
        """
        search = Search(top_k, max_answer_len, handle_impossible_answer, align_to_words)
        asked = _asked(question, context)
        windows = [
            self._windows(index, item, (max_seq_len, doc_stride, max_question_len)) for index, item in enumerate(asked)
        ]
        logits = iter(self._run([window for parts in windows for window in parts], batch_size))
        answers: list[Any] = []
        for item, parts in zip(asked, windows, strict=True):
            found = find_answers([self._window(part, next(logits)) for part in parts], item["context"], search)
            listed = [asdict(answer) for answer in found]
            answers.append(listed[0] if len(listed) == 1 else listed)
        return answers[0] if len(answers) == 1 else answers

    def raw(self, inputs: Sequence[Input], *, batch_size: int = 1) -> list[Raw]:
        """``{"logits.start", "logits.end"}``, (places,) each, for ``{"question": str, "context": str}``.

        The places are those of the first window that may be an answer: the token for "no answer", then the context's.
        """
        asked = [_checked(item, index) for index, item in enumerate(inputs)]
        windows = [self._windows(index, item, (None, None, None))[0] for index, item in enumerate(asked)]
        answers: list[Raw] = []
        for window, found in zip(windows, self._run(windows, batch_size), strict=True):
            place = self._window(window, found)
            allowed = place.context | place.no_answer
            answers.append({"logits.start": place.start[allowed], "logits.end": place.end[allowed]})
        return answers

    def _windows(
        self, index: int, item: Mapping[str, str], lengths: tuple[int | None, int | None, int | None]
    ) -> list[Encoded]:
        (limit, stride, longest), encoder = lengths, self._graph.encoder
        where = f"input {index}: "
        limit = min(MAX_WINDOW, encoder.max_length) if limit is None else limit
        question = item["question"]
        if longest is not None:
            if longest < 1:
                raise UsageError(f"max_question_len {longest}: expected at least 1")
            question = encoder.shorten(question, longest, name=f"{where}question")
        shared = Stride(min(MAX_STRIDE, limit // 2), narrows=True) if stride is None else Stride(stride)
        return encoder.windows(question, item["context"], max_length=limit, stride=shared, where=where)

    def _run(self, windows: Sequence[Encoded], batch_size: int) -> list[Arrays]:
        return self._graph.run(windows, dict.fromkeys(self._settings.outputs(), (TOKENS,)), batch_size)

    def _window(self, window: Encoded, found: Arrays) -> Window:
        no_answer = window.ids == self._settings.no_answer_id
        return Window(
            start=found[self._settings.start],
            end=found[self._settings.end],
            context=window.sequence == 1,
            no_answer=no_answer & (window.sequence != 0),
            offsets=window.offsets,
            words=window.words,
        )


def _asked(question: Any, context: Any) -> list[dict[str, str]]:
    if isinstance(question, str) and isinstance(context, str):
        items: list[Any] = [{"question": question, "context": context}]
    elif isinstance(question, list | tuple) and context is not None:
        contexts = [context] * len(question) if isinstance(context, str) else list(context)
        if len(contexts) != len(question):
            raise InputError(f"{len(question)} questions and {len(contexts)} contexts: expected equally many")
        items = [{"question": one, "context": other} for one, other in zip(question, contexts, strict=True)]
    elif context is None and isinstance(question, Mapping):
        items = [question]
    elif context is None and isinstance(question, list | tuple):
        items = list(question)
    else:
        raise InputError("expected question= and context=, each a str or a list of str")
    return [_checked(item, index) for index, item in enumerate(items)]


def _checked(item: Any, index: int) -> dict[str, str]:
    checked = fields(item, index, _FIELDS)
    for name in _FIELDS:
        if not isinstance(checked[name], str):
            raise InputError(f"input {index}: {name}: expected a str, got {type(checked[name]).__name__}")
        if not checked[name]:
            raise InputError(f"input {index}: {name}: is empty")
    return checked
