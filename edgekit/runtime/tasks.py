"""Which class answers for which task. Its module is imported when a bundle of that task is loaded, not before."""

from __future__ import annotations

from typing import Final

CLASSES: Final = {
    "audio-classification": "audio_classification:AudioClassifier",
    "automatic-speech-recognition": "speech:recognizer",
    "feature-extraction": "embedding:Embedder",
    "text-classification": "classification:TextClassifier",
    "text-generation": "generation:Generator",
    "text2text-generation": "seq2seq:Seq2Seq",
}
