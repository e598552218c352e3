"""Tasks, by their Hugging Face names, and how far a variant's answers to them are measured."""

from __future__ import annotations

from typing import Final

# "vectors": cosine and nearest neighbour. "decisions": the choice taken, and the probabilities behind it.
# "language": the same for every next token, with more room, and perplexity.
MEASURES: Final[dict[str, str]] = {
    "audio-classification": "decisions",
    "automatic-speech-recognition": "decisions",
    "feature-extraction": "vectors",
    "fill-mask": "decisions",
    "image-classification": "decisions",
    "image-feature-extraction": "vectors",
    "question-answering": "decisions",
    "text-classification": "decisions",
    "text-generation": "language",
    "text-ranking": "decisions",
    "text2text-generation": "language",
    "token-classification": "decisions",
    "zero-shot-classification": "decisions",
    "zero-shot-image-classification": "decisions",
}

SYNONYMS: Final[dict[str, str]] = {
    "ner": "token-classification",
    "reranking": "text-ranking",
    "sentence-similarity": "feature-extraction",
    "sentiment-analysis": "text-classification",
    "summarization": "text2text-generation",
    "translation": "text2text-generation",
}


def canonical(task: str) -> str:
    """The task's one name: a synonym's, and ``translation_{from}_to_{to}`` is a translation."""
    name = "translation" if task.startswith("translation_") else task
    return SYNONYMS.get(name, name)
