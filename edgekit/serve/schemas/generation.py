"""Tasks that write texts."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import ConfigDict, Field, with_config
from typing_extensions import TypedDict

from edgekit.serve.schemas.strict import Amount, Count, Parameters, Request, Text

Json = dict[str, Any]


class GenerationParameters(Parameters):
    """How to go on: the names of ``transformers.GenerationConfig``."""

    max_new_tokens: Count | None = None
    min_new_tokens: Amount | None = None
    do_sample: bool | None = None
    temperature: float | None = None
    top_k: Amount | None = None
    top_p: float | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    no_repeat_ngram_size: Amount | None = None
    stop_strings: str | list[str] | None = None
    seed: Annotated[int, Field(ge=0, le=2**64 - 1)] | None = None
    num_return_sequences: Annotated[int, Field(ge=1, le=16)] = 1


class TextGenerationParameters(GenerationParameters):
    """Options of text generation and of chats."""

    return_full_text: bool = True
    continue_final_message: bool | None = None
    tools: list[Json] | None = None
    documents: list[Json] | None = None
    template_variables: Json | None = None


@with_config(ConfigDict(extra="allow", strict=True))
class Message(TypedDict):
    """A message of a chat; a template may read more of it."""

    role: str
    content: str | list[Json] | None


Chat = Annotated[list[Message], Field(min_length=1)]

Streamed = Annotated[
    bool, Field(description="Answer with server-sent events: the text as it is written, then the whole answer.")
]


class TextGenerationRequest(Request):
    """A text or a chat to go on with, or several."""

    inputs: Text | Chat | list[Text | Chat]
    parameters: TextGenerationParameters = TextGenerationParameters()
    stream: Streamed = False

    def listed(self) -> tuple[list[Any], bool]:
        """See :meth:`Request.listed`: a list of messages is one input."""
        if isinstance(self.inputs, list) and not (self.inputs and all(isinstance(one, dict) for one in self.inputs)):
            return list(self.inputs), True
        return [self.inputs], False


class GeneratedText(TypedDict):
    """A text with what was written behind it, or a chat with the answer."""

    generated_text: str | list[Json]


TextGenerationAnswer = list[GeneratedText] | list[list[GeneratedText]]


class Seq2SeqParameters(GenerationParameters):
    """Options of texts from texts."""

    truncation: bool = False


class Seq2SeqRequest(Request):
    """Texts to make others of."""

    inputs: Text | list[Text]
    parameters: Seq2SeqParameters = Seq2SeqParameters()
    stream: Streamed = False


class WrittenText(TypedDict):
    """A text made of a text."""

    generated_text: str


class SummaryText(TypedDict):
    """A summary."""

    summary_text: str


class TranslationText(TypedDict):
    """A translation."""

    translation_text: str


Text2TextAnswer = list[WrittenText] | list[list[WrittenText]]
SummarizationAnswer = list[SummaryText] | list[list[SummaryText]]
TranslationAnswer = list[TranslationText] | list[list[TranslationText]]
