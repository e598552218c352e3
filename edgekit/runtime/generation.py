"""Continue texts and chats, as ``transformers.pipeline("text-generation")`` does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from edgekit.errors import InputError, UsageError
from edgekit.runtime.answers import Input, Raw
from edgekit.runtime.chat import ChatTemplate, check_messages
from edgekit.runtime.decoding import Step
from edgekit.runtime.model import Model
from edgekit.runtime.opened import Opened
from edgekit.runtime.sampling import GenerationOptions
from edgekit.runtime.text import TextEncoder, texts_of
from edgekit.runtime.writer import Forced, Writer, judged_places
from edgekit.spec.settings.text import TextSettings

Prompt = str | Sequence[Mapping[str, Any]]
"""A text, or a chat: messages with ``role`` and ``content``."""


class Generator(Model):
    """An open bundle that continues texts and, where it has a chat template, answers in chats."""

    def __init__(self, opened: Opened) -> None:
        super().__init__(opened)
        text = opened.section(TextSettings)
        self._text = TextEncoder(opened.read(text.tokenizer), text)
        self._writer = Writer.open(opened, self._text)
        self._settings = self._writer.settings
        self._template: ChatTemplate | None = None

    def __call__(  # noqa: PLR0913 - each is an option of transformers' pipeline
        self,
        inputs: Prompt | Sequence[Prompt],
        *,
        max_new_tokens: int | None = None,
        min_new_tokens: int | None = None,
        do_sample: bool | None = None,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        min_p: float | None = None,
        repetition_penalty: float | None = None,
        no_repeat_ngram_size: int | None = None,
        stop_strings: str | Sequence[str] | None = None,
        seed: int | None = None,
        num_return_sequences: int = 1,
        return_full_text: bool = True,
        continue_final_message: bool | None = None,
        tools: Sequence[Mapping[str, Any]] | None = None,
        documents: Sequence[Mapping[str, Any]] | None = None,
        template_variables: Mapping[str, Any] | None = None,
        batch_size: int = 1,
    ) -> list[Any]:
        """Continue a text or a chat, or several.

        Options left out are the bundle's own: what the checkpoint's ``generation_config.json`` says, else what
        ``transformers.pipeline`` does (256 tokens, drawn at temperature 0.7).

        Args:
            inputs: A text, a chat (a list of messages), or a list of one of them.
            max_new_tokens: See :class:`edgekit.runtime.sampling.GenerationOptions` for this and the next.
            min_new_tokens: See there.
            do_sample: See there.
            temperature: See there.
            top_k: See there.
            top_p: See there.
            min_p: See there.
            repetition_penalty: See there.
            no_repeat_ngram_size: See there.
            stop_strings: One or several texts that end generation once they appear; they stay in the answer.
            seed: See there.
            num_return_sequences: How many different continuations, where tokens are drawn.
            return_full_text: Whether the answer begins with the input.
            continue_final_message: Whether a chat's last message is continued; None does so if it is the assistant's.
            tools: JSON schemas of functions, for the chat template.
            documents: Documents with ``title`` and ``text``, for the chat template.
            template_variables: What else the chat template reads, such as ``{"enable_thinking": False}``.
            batch_size: Inputs run at once, at most. A row's answer does not depend on its batch in float32;
                dynamic int8 takes one range over all of it (docs/decisions/0005).

        Returns:
            For one input a list of ``{"generated_text": …}``, one for each continuation; for a list a list of such
            lists. The generated text of a chat is its messages with the answer, or with ``return_full_text=False`` the
            answer alone.

        Raises:
            InputError: An input is no text or chat, or too long; the message has its index.
            UsageError: An option has no such value, or the model is closed.
            HostError: ONNX Runtime failed, or chats need an extra that is not installed.
        """
        changes = {
            "max_new_tokens": max_new_tokens,
            "min_new_tokens": min_new_tokens,
            "do_sample": do_sample,
            "temperature": temperature,
            "top_k": top_k,
            "top_p": top_p,
            "min_p": min_p,
            "repetition_penalty": repetition_penalty,
            "no_repeat_ngram_size": no_repeat_ngram_size,
            "stop_strings": stop_strings,
            "seed": seed,
        }
        given = {"tools": tools, "documents": documents, "variables": template_variables}
        single = isinstance(inputs, str) or _is_chat(inputs)
        prompts: list[Prompt] = [inputs] if single else _listed(inputs)  # type: ignore[list-item]  # _is_chat says so
        if batch_size < 1:
            raise UsageError(f"batch_size {batch_size}: expected at least 1")
        rows = [
            self._ids(index, prompt, given, continued=continue_final_message) for index, prompt in enumerate(prompts)
        ]
        written = [
            texts
            for first in range(0, len(rows), batch_size)
            for texts in self._writer.write(rows[first : first + batch_size], changes, copies=num_return_sequences)
        ]
        answers = [
            [
                {"generated_text": _full(prompt, text, continued=continue_final_message) if return_full_text else text}
                for text in texts
            ]
            for prompt, texts in zip(prompts, written, strict=True)
        ]
        return answers[0] if single else answers

    def stream(  # noqa: PLR0913 - the options of a call
        self,
        prompt: Prompt,
        *,
        max_new_tokens: int | None = None,
        min_new_tokens: int | None = None,
        do_sample: bool | None = None,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        min_p: float | None = None,
        repetition_penalty: float | None = None,
        no_repeat_ngram_size: int | None = None,
        stop_strings: str | Sequence[str] | None = None,
        seed: int | None = None,
        continue_final_message: bool | None = None,
        tools: Sequence[Mapping[str, Any]] | None = None,
        documents: Sequence[Mapping[str, Any]] | None = None,
        template_variables: Mapping[str, Any] | None = None,
    ) -> Iterator[str]:
        """The continuation of one text or chat, piece by piece. A piece never changes, nor ends within a character.

        The options are those of a call. Joined, the pieces are the text a call gives with ``return_full_text=False``.

        Raises:
            InputError: As a call, before the first piece is asked for.
            UsageError: As a call.
            HostError: As a call.
        """
        changes = {
            "max_new_tokens": max_new_tokens,
            "min_new_tokens": min_new_tokens,
            "do_sample": do_sample,
            "temperature": temperature,
            "top_k": top_k,
            "top_p": top_p,
            "min_p": min_p,
            "repetition_penalty": repetition_penalty,
            "no_repeat_ngram_size": no_repeat_ngram_size,
            "stop_strings": stop_strings,
            "seed": seed,
        }
        given = {"tools": tools, "documents": documents, "variables": template_variables}
        return self._writer.stream(self._ids(0, prompt, given, continued=continue_final_message), changes)

    @property
    def vocabulary(self) -> int:
        """How many tokens the model knows."""
        return self._writer.decoder.vocabulary

    def steps(self, prompts: Sequence[Sequence[int]], options: GenerationOptions) -> Iterator[Step]:
        """Continue token ids by token ids, step by step, for a program with a tokenizer of its own.

        Args:
            prompts: Token ids of each row.
            options: How to choose; nothing of the bundle's own is added, such as what ends a text.

        Raises:
            InputError: A prompt is empty, too long, or holds what is no token.
            UsageError: An option does not fit the model.
            HostError: ONNX Runtime failed.
        """
        return self._writer.decoder.steps(prompts, options)

    def raw(self, inputs: Sequence[Input], *, batch_size: int = 1) -> list[Raw]:
        """``{"logits": (places, vocabulary)}`` for the next tokens of ``{"text": str}``, the last ones of it.

        With a field ``target`` for the next tokens of that behind the text. Half of the places are prefilled and the
        others decoded over the cache, so that both graphs answer for what they do when text is generated.
        """
        texts = texts_of(inputs)
        rows = [self._judged(index, item, text) for index, (item, text) in enumerate(zip(inputs, texts, strict=True))]
        return self._writer.judge(rows, batch_size=batch_size)

    def _judged(self, index: int, item: Input, text: str) -> Forced:
        prompt = self._text.encode([text])[0] or self._start(index)
        ids, wanted = prompt, judged_places(index, item, self._settings)
        if "target" in item:
            target = self._text.encode([item["target"]], special=False)[0]
            ids = [*prompt, *target[:wanted]][: self._text.max_length]
            wanted = len(ids) - len(prompt)
        wanted = max(1, min(wanted, len(ids) - 1))
        known = ids[: max(len(ids) - 1, 1)]  # nothing is known to come after the last
        return Forced(known, len(known) - wanted // 2, wanted)

    def _ids(self, index: int, prompt: Prompt, given: Mapping[str, Any], *, continued: bool | None) -> list[int]:
        if isinstance(prompt, str):
            return self._text.whole(index, prompt) or self._start(index)
        check_messages(prompt)
        continued = _continued(prompt, continued=continued)
        text = self._chat().render(
            prompt, add_generation_prompt=not continued, continue_final_message=continued, **given
        )
        return self._text.whole(index, text, special=False) or self._start(index)

    def _start(self, index: int) -> list[int]:
        if self._settings.bos_id is None:
            raise InputError(f"input {index}: an empty text, and this model has no token to begin with")
        return [self._settings.bos_id]

    def _chat(self) -> ChatTemplate:
        if self._template is None:
            path = self._settings.chat_template
            if not path:
                raise InputError(
                    "this model has no chat template, so it takes texts and no chats", hint="give it a text"
                )
            self._template = ChatTemplate(self._opened.read(path), self._settings.special_tokens)
        return self._template


def _is_chat(inputs: Any) -> bool:
    return isinstance(inputs, Sequence) and bool(inputs) and all(isinstance(item, Mapping) for item in inputs)


def _listed(inputs: Any) -> list[Prompt]:
    if not isinstance(inputs, Sequence):
        raise InputError(f"expected a text, a chat or a list of them, got {type(inputs).__name__}")
    for index, item in enumerate(inputs):
        if not isinstance(item, str) and not _is_chat(item):
            raise InputError(f"text {index}: expected a str or a list of messages, got {type(item).__name__}")
    return list(inputs)


def _continued(messages: Sequence[Mapping[str, Any]], *, continued: bool | None) -> bool:
    return messages[-1]["role"] == "assistant" if continued is None else continued


def _full(prompt: Prompt, text: str, *, continued: bool | None) -> str | list[Mapping[str, Any]]:
    if isinstance(prompt, str):
        return prompt + text
    if not _continued(prompt, continued=continued):
        return [*prompt, {"role": "assistant", "content": text}]
    last = prompt[-1]
    content = last["content"]
    whole = content + text if isinstance(content, str) else [*content, {"type": "text", "text": text}]
    return [*prompt[:-1], {"role": last["role"], "content": whole}]
