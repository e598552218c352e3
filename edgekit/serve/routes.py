"""The table of tasks: which routes a bundle has by what it is used for."""

from __future__ import annotations

from typing import Any, Final

from edgekit.serve.asking import AUDIO, IMAGE, TaskRoute, labels, listed, states, unwrapped, vectors
from edgekit.serve.schemas import generation, media, text
from edgekit.serve.schemas.strict import Request


def _image(name: str, summary: str, request: type[Request], answer: Any, **more: Any) -> TaskRoute:
    return TaskRoute(
        name, summary, request, answer, {"inputs": "iVBORw0KGgo="} | more.pop("example", {}), IMAGE, **more
    )


def _audio(name: str, summary: str, request: type[Request], answer: Any) -> TaskRoute:
    return TaskRoute(name, summary, request, answer, {"inputs": "UklGRg=="}, AUDIO)


_TEXT: Final = {"inputs": "The film was dreadful."}
_PAIR: Final = {"inputs": {"question": "Who sat?", "context": "The cat sat on the mat."}}
_RANKING: Final = {"inputs": {"query": "Who sat?", "documents": ["The cat sat.", "It rains."]}}
_LABELLED: Final = {"parameters": {"candidate_labels": ["a good film", "a bad film"]}}

# Task -> its routes. What a bundle is used for decides, so that summaries have a route of their own.
ROUTES: Final[dict[str, tuple[TaskRoute, ...]]] = {
    "feature-extraction": (
        TaskRoute("embed", "Vectors of texts", text.EmbedRequest, text.EmbedAnswer, _TEXT, ask=vectors),
        TaskRoute(
            "feature-extraction",
            "States of a text's tokens",
            text.FeatureRequest,
            text.FeatureAnswer,
            _TEXT,
            ask=states,
        ),
    ),
    "text-classification": (
        TaskRoute(
            "text-classification",
            "Labels of texts",
            text.TextClassificationRequest,
            text.TextClassificationAnswer,
            _TEXT,
            shape=labels,
        ),
    ),
    "token-classification": (
        TaskRoute(
            "token-classification",
            "Labels of a text's tokens",
            text.TokenClassificationRequest,
            text.TokenClassificationAnswer,
            _TEXT | {"parameters": {"aggregation_strategy": "simple"}},
        ),
    ),
    "question-answering": (
        TaskRoute(
            "question-answering",
            "Answers from a context",
            text.QuestionRequest,
            text.QuestionAnswer,
            _PAIR,
            shape=unwrapped,
        ),
    ),
    "fill-mask": (
        TaskRoute(
            "fill-mask",
            "Words for masked places",
            text.FillMaskRequest,
            text.FillMaskAnswer,
            {"inputs": "The cat [MASK]."},
            shape=unwrapped,
        ),
    ),
    "zero-shot-classification": (
        TaskRoute(
            "zero-shot-classification",
            "Labels that come with the text",
            text.ZeroShotRequest,
            text.ZeroShotAnswer,
            _TEXT | _LABELLED,
        ),
    ),
    "text-ranking": (
        TaskRoute(
            "text-ranking", "Documents from the best to the worst", text.RankingRequest, text.RankingAnswer, _RANKING
        ),
    ),
    "text-generation": (
        TaskRoute(
            "text-generation",
            "Texts and chats continued",
            generation.TextGenerationRequest,
            generation.TextGenerationAnswer,
            _TEXT | {"parameters": {"max_new_tokens": 16}},
            streams=True,
        ),
    ),
    **{
        name: (
            TaskRoute(
                name,
                summary,
                generation.Seq2SeqRequest,
                answer,
                _TEXT | {"parameters": {"max_new_tokens": 16}},
                streams=True,
                shape=listed,
            ),
        )
        for name, summary, answer in (
            ("text2text-generation", "Texts from texts", generation.Text2TextAnswer),
            ("summarization", "Summaries", generation.SummarizationAnswer),
            ("translation", "Translations", generation.TranslationAnswer),
        )
    },
    "image-classification": (
        _image("image-classification", "Labels of images", media.ImageRequest, media.ImageAnswer),
    ),
    "image-feature-extraction": (
        _image("embed-image", "Vectors of images", media.ImageEmbedRequest, media.ImageEmbedAnswer, ask=vectors),
        _image("image-feature-extraction", "States of images", media.ImageFeatureRequest, media.ImageFeatureAnswer),
    ),
    "zero-shot-image-classification": (
        _image(
            "zero-shot-image-classification",
            "Labels that come with the image",
            media.ZeroShotImageRequest,
            media.ImageAnswer,
            example=_LABELLED,
        ),
    ),
    "audio-classification": (
        _audio("audio-classification", "Labels of sounds", media.AudioRequest, media.ImageAnswer),
    ),
    "automatic-speech-recognition": (
        _audio("automatic-speech-recognition", "Speech written down", media.SpeechRequest, media.SpeechAnswer),
    ),
}


def routes_of(task: str) -> tuple[TaskRoute, ...]:
    """The routes of what a bundle is used for; ``translation_en_to_fr`` is a translation."""
    return ROUTES["translation" if task.startswith("translation_") else task]
