"""Which class answers for which task. Its module is imported when a bundle of that task is loaded, not before."""

from __future__ import annotations

from typing import Final

CLASSES: Final = {
    "audio-classification": "audio_classification:AudioClassifier",
    "automatic-speech-recognition": "speech:recognizer",
    "feature-extraction": "embedding:Embedder",
    "fill-mask": "fill_mask:MaskFiller",
    "image-classification": "vision:ImageClassifier",
    "image-feature-extraction": "vision:ImageEmbedder",
    "question-answering": "question_answering:QuestionAnswerer",
    "text-classification": "classification:TextClassifier",
    "text-generation": "generation:Generator",
    "text-ranking": "text_ranking:TextRanker",
    "text2text-generation": "seq2seq:Seq2Seq",
    "token-classification": "token_classification:TokenClassifier",
    "zero-shot-classification": "zero_shot_classification:ZeroShotClassifier",
    "zero-shot-image-classification": "zero_shot_image:ZeroShotImageClassifier",
}

# What else a bundle can be used for: (its task, the task asked for).
OTHER_USES: Final = {
    ("feature-extraction", "zero-shot-classification"): "zero_shot_classification:EmbeddingZeroShotClassifier",
}
