"""Chat templates: from messages to the prompt a model was trained on, as ``apply_chat_template`` renders it.

A template is a program out of the bundle, written by whoever published the checkpoint. It runs in Jinja2's immutable
sandbox and, since that bounds neither time nor memory, under a budget: every loop step, call, filter and arithmetic
operation is counted, and no value may grow beyond a bound.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from types import ModuleType
from typing import Any, Final

from edgekit.errors import EdgekitError, HostError, InputError, IntegrityError

Message = Mapping[str, Any]

MAX_TEMPLATE: Final = 256 * 1024  # bytes; the longest published ones have 25 thousand
MAX_MESSAGES: Final = 4096
MAX_DEPTH: Final = 16

_OLDEST_JINJA: Final = (3, 1, 6)  # before it, the sandbox has known ways out
_REASONING: Final = ("reasoning_content", "thinking", "reasoning")
_MARK: Final = "CONTINUE_FINAL_MESSAGE_TAG "


class ChatTemplate:
    """A compiled template. Threads may share it.

    Args:
        data: The verified bytes of the template file.
        special_tokens: Variables of every rendering, such as ``bos_token``.

    Raises:
        IntegrityError: It is no template, or one that the sandbox refuses.
        HostError: Jinja2 is not installed, or too old to be safe.
    """

    def __init__(self, data: bytes | bytearray | memoryview, special_tokens: Mapping[str, str]) -> None:
        jinja2 = _jinja2()
        # Not at the top: it needs Jinja2.
        from edgekit.runtime.chat_sandbox import Sandbox

        if len(data) > MAX_TEMPLATE:
            raise IntegrityError(f"chat template: {len(data)} bytes is over the limit of {MAX_TEMPLATE}")
        self._special_tokens = dict(special_tokens)
        self._sandbox = Sandbox(strftime_now=_now)
        try:
            self._source = bytes(data).decode("utf-8")
            self._template = self._sandbox.compile_template(self._source)
        except UnicodeDecodeError as error:
            raise IntegrityError(f"chat template: not UTF-8 at byte {error.start}") from error
        except (jinja2.TemplateError, RecursionError, ValueError, OverflowError, MemoryError) as error:
            raise IntegrityError(f"chat template: {_reason(error)}") from error

    def render(
        self,
        messages: Sequence[Message],
        *,
        add_generation_prompt: bool = True,
        continue_final_message: bool = False,
        tools: Sequence[Mapping[str, Any]] | None = None,
        documents: Sequence[Mapping[str, Any]] | None = None,
        variables: Mapping[str, Any] | None = None,
    ) -> str:
        """The prompt for a conversation.

        Args:
            messages: Each with at least ``role`` and ``content``; JSON values alone.
            add_generation_prompt: Whether the prompt ends where the model's answer begins.
            continue_final_message: Whether the model goes on with the last message instead.
            tools: JSON schemas of functions the model may call.
            documents: For models that answer from documents, each with ``title`` and ``text``.
            variables: What else the template reads, such as ``enable_thinking``.

        Raises:
            InputError: The messages are none, or the template refuses them.
            IntegrityError: The template tried what the sandbox forbids.
        """
        if add_generation_prompt and continue_final_message:
            raise InputError("a final message that is continued takes no generation prompt")
        chat = _chat(messages)
        final = _mark_final(chat, self._source) if continue_final_message else ""
        given = self._special_tokens | _plain(dict(variables or {}), "variables", 0)
        given |= {
            "messages": chat,
            "tools": None if tools is None else _plain(list(tools), "tools", 0),
            "documents": None if documents is None else _plain(list(documents), "documents", 0),
            "add_generation_prompt": add_generation_prompt,
        }
        text = self._run(given)
        return _cut_at_mark(text, final) if continue_final_message else text

    def _run(self, given: dict[str, Any]) -> str:
        from jinja2 import TemplateError
        from jinja2.exceptions import SecurityError

        from edgekit.runtime.chat_sandbox import Exhausted

        try:
            return self._sandbox.render_template(self._template, given)
        except SecurityError as error:
            raise IntegrityError(
                f"the chat template tried what is forbidden: {_reason(error)}", hint="do not trust this bundle"
            ) from error
        except (Exhausted, RecursionError, MemoryError) as error:
            raise InputError(
                f"the chat template needs more than it may for these messages: {_reason(error)}"
            ) from error
        except EdgekitError:
            raise
        except TemplateError as error:
            raise InputError(f"the chat template refused the messages: {_reason(error)}") from error
        except Exception as error:
            raise InputError(f"the chat template failed on these messages: {_reason(error)}") from error


def check_messages(messages: Any) -> None:
    """Refuse what is no conversation.

    Raises:
        InputError: Naming the message and what it lacks.
    """
    if not isinstance(messages, Sequence) or isinstance(messages, str) or not messages:
        raise InputError("expected a list of at least one message")
    if len(messages) > MAX_MESSAGES:
        raise InputError(f"{len(messages)} messages are over the limit of {MAX_MESSAGES}")
    for index, message in enumerate(messages):
        if not isinstance(message, Mapping) or not {"role", "content"} <= set(message):
            raise InputError(f'message {index}: expected an object with "role" and "content"')


def _jinja2() -> ModuleType:
    hint = 'chat templates need Jinja2: pip install "edgekit[chat]"'
    try:
        import jinja2
    except ImportError as error:
        raise HostError("Jinja2 is not installed", hint=hint) from error
    version = tuple(int(part) for part in re.findall(r"\d+", jinja2.__version__)[:3])
    if version < _OLDEST_JINJA:
        raise HostError(f"Jinja2 {jinja2.__version__} has known ways out of its sandbox", hint=hint)
    return jinja2


def _chat(messages: Sequence[Message]) -> list[dict[str, Any]]:
    check_messages(messages)
    chat: list[dict[str, Any]] = []
    for index, message in enumerate(messages):
        given = {key: value for key, value in message.items() if value is not None}
        plain: dict[str, Any] = _plain(given, f"message {index}", 0)
        # Templates read a model's reasoning under one of several names.
        reasoning = next((plain[name] for name in _REASONING if name in plain), None)
        if reasoning is not None:
            plain = {"thinking": reasoning} | plain | {"reasoning_content": reasoning}
        chat.append(plain)
    return chat


def _plain(value: Any, where: str, depth: int) -> Any:
    """A deep copy of exact JSON types: the sandbox knows no other object's methods."""
    if value is None or type(value) in (str, int, float, bool):
        return value
    if depth >= MAX_DEPTH:
        raise InputError(f"{where}: nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise InputError(f"{where}: expected names that are text")
        return {str(key): _plain(item, where, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, where, depth + 1) for item in value]
    raise InputError(f"{where}: expected JSON values, found {type(value).__name__}")


def _mark_final(chat: list[dict[str, Any]], source: str) -> str:
    """Put a mark behind the last message's text, and give that text."""
    content = chat[-1].get("content")
    if content is None or "content" not in source:
        raise InputError("the final message has no content that the chat template could continue")
    if isinstance(content, str):
        chat[-1]["content"] = content + _MARK
        return content
    parts = content if isinstance(content, list) else []
    part = next(
        (part for part in reversed(parts) if isinstance(part, dict) and isinstance(part.get("text"), str)), None
    )
    if part is None:
        raise InputError("the final message has no text that the chat template could continue")
    text = str(part["text"])
    part["text"] = text + _MARK
    return text


def _cut_at_mark(text: str, final: str) -> str:
    if final.strip() not in text or _MARK.strip() not in text:
        raise InputError("the chat template drops the final message, so that it cannot be continued")
    place = text.rindex(_MARK.strip())
    kept = text[:place]
    # A template that trims its messages has trimmed the mark's own space, and would have trimmed the text's.
    return kept if text.startswith(_MARK, place) else kept.rstrip()


def _now(pattern: str) -> str:
    if not isinstance(pattern, str) or len(pattern) > 100 or re.search(r"\d{3}", pattern):
        raise ValueError(f"strftime_now: {pattern!r:.50} is no usual pattern")
    return datetime.now().strftime(pattern)  # noqa: DTZ005 - the local date, as transformers gives templates


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
