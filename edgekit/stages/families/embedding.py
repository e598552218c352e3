"""Embeddings: a SentenceTransformer, whose pooling and normalisation are part of the answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt

from edgekit.errors import CheckpointError, ExportError
from edgekit.runtime.answers import Input, Raw
from edgekit.runtime.text import texts_of
from edgekit.spec.parity import share_interval
from edgekit.spec.settings.embedding import POOLINGS, EmbeddingSettings
from edgekit.spec.settings.section import Section
from edgekit.spec.settings.text import TextSettings
from edgekit.stages import data, tokenizer
from edgekit.stages.data import Dataset, Row
from edgekit.stages.export import Part
from edgekit.stages.fetch import Checkpoint
from edgekit.stages.pickles import without_pickles
from edgekit.stages.quiet import first_line, quiet
from edgekit.stages.reference import Case, Feeds, Reference, load_model

OUTPUT: Final = "last_hidden_state"
CHANCE: Final = 0.5  # of the two candidates of a triplet
LANGUAGE_CHARACTERS_PER_TOKEN: Final = 2.0  # English prose has 4 to 5; random letters about 1.5

_UNUSED_WEIGHTS: Final = ("pooler.",)  # heads an embedding never reads may be missing from a checkpoint
# Two texts of different lengths: a batch or length of 0 or 1 would be baked into the graph.
_SAMPLES: Final = ("Export once, prove it everywhere.", "A second, noticeably longer sentence fills the batch.")


def load(checkpoint: Checkpoint, task: str, work: Path) -> Reference:
    """Load the SentenceTransformer.

    A sentence-transformers layout keeps its own pooling and normalisation; any other encoder gets
    mean pooling, which is what sentence-transformers gives it too.

    Raises:
        CheckpointError: Config and weights disagree, or a file is broken.
        ExportError: A module that edgekit does not know follows the encoder.
    """
    folder = without_pickles(checkpoint.folder, work)
    load_model(folder, task, unused=_UNUSED_WEIGHTS)  # refuses what sentence-transformers only warns of
    with quiet():
        import torch
        from sentence_transformers import SentenceTransformer

        try:
            model = SentenceTransformer(
                str(folder), device="cpu", local_files_only=True, model_kwargs={"dtype": torch.float32}
            )
        except Exception as error:
            raise CheckpointError(
                f"{checkpoint.folder}: sentence-transformers cannot load it: {first_line(error)}",
                hint="check that config.json, tokenizer files and weights belong together",
            ) from error
    model.eval()
    pooling, normalize = _modules(model)
    return EmbeddingReference(
        task=task,
        model=model,
        settings=EmbeddingSettings(OUTPUT, pooling, normalize, int(model.get_embedding_dimension())),
        max_length=int(model.max_seq_length or checkpoint.config["max_position_embeddings"]),
        tokenizer_json=tokenizer.tokenizer_json(model.tokenizer, checkpoint.folder),
    )


@dataclass(frozen=True, slots=True)
class EmbeddingReference(Reference):
    """A loaded SentenceTransformer.

    Attributes:
        task: Hugging Face task name.
        model: The SentenceTransformer.
        settings: Its pooling and normalisation.
        max_length: Tokens a text is truncated to, special ones included.
        tokenizer_json: The tokenizer.
    """

    library: ClassVar[str] = "sentence-transformers"

    task: str
    model: Any
    settings: EmbeddingSettings
    max_length: int
    tokenizer_json: bytes

    def raw(self, inputs: Sequence[Input], *, batch_size: int = 32) -> list[Raw]:
        """What ``SentenceTransformer.encode`` answers, as ``{"embedding": (dimension,)}``."""
        return [{"embedding": vector} for vector in self.embed(texts_of(inputs), batch_size=batch_size)]

    def embed(self, texts: Sequence[str], *, batch_size: int = 32) -> npt.NDArray[np.float32]:
        """Vectors, float32 (texts, dimension)."""
        return np.asarray(
            self.model.encode(list(texts), batch_size=batch_size, convert_to_numpy=True, show_progress_bar=False),
            dtype=np.float32,
        )

    def parts(self) -> Mapping[str, Part]:
        """The encoder, which gives token states."""
        sample = self._tokens(_SAMPLES)
        tokens = ("batch", "sequence")
        return {"model": Part(self.model[0].auto_model, sample, (OUTPUT,), dict.fromkeys((*sample, OUTPUT), tokens))}

    def sections(self, assets: str) -> tuple[Section, ...]:
        """Text and pooling."""
        pad = self.model.tokenizer
        return (
            TextSettings(
                tokenizer=f"{assets}/{tokenizer.FILE}",
                max_length=self.max_length,
                pad_id=int(pad.pad_token_id or 0),
                pad_type_id=int(pad.pad_token_type_id),
            ),
            self.settings,
        )

    def assets(self) -> Mapping[str, bytes]:
        """The tokenizer."""
        return {tokenizer.FILE: self.tokenizer_json}

    def cases(self, rows: Sequence[Row]) -> list[Case]:
        """A text a row."""
        return [Case({"text": row["text"]}, int(self._tokens([row["text"]])["input_ids"].shape[1])) for row in rows]

    def feeds(self, inputs: Sequence[Input]) -> Mapping[str, list[Feeds]]:
        """The encoder's inputs."""
        return {
            "model": [
                {name: tensor.numpy() for name, tensor in self._tokens([text]).items()} for text in texts_of(inputs)
            ]
        }

    def builtin(self) -> Dataset:
        """The built-in English corpus."""
        return data.builtin_texts()

    def doubts(self, cases: Sequence[Case], raw: Sequence[Raw]) -> list[str]:  # noqa: ARG002 - asks triplets instead
        """Texts that look random, and a reference that cannot tell a paraphrase from a look-alike."""
        return _not_language(cases) or self._at_chance()

    def _at_chance(self) -> list[str]:
        triplets = data.paraphrases()
        anchors, paraphrases, distractors = (
            _unit(self.embed([getattr(triplet, part) for triplet in triplets]))
            for part in ("anchor", "paraphrase", "distractor")
        )
        right = int(((anchors * paraphrases).sum(axis=1) > (anchors * distractors).sum(axis=1)).sum())
        share = share_interval(right, len(triplets))
        if share.low > CHANCE:
            return []
        return [f"the reference prefers a paraphrase to a look-alike in {right} of {len(triplets)} cases: chance level"]

    def _tokens(self, texts: Sequence[str]) -> dict[str, Any]:
        """The encoder's inputs for a few texts, as torch tensors, padded to one length."""
        batch = self.model.tokenizer(
            list(texts), padding=True, truncation=True, max_length=self.max_length, return_tensors="pt"
        )
        return dict(batch)


def _unit(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12), np.float32)


def _not_language(cases: Sequence[Case]) -> list[str]:
    joined = "".join(case.input["text"] for case in cases)
    if sum(character.isascii() for character in joined) < 0.9 * len(joined):
        return []  # scripts without spaces have one or two characters a token by nature
    density = len(joined) / max(sum(case.size for case in cases), 1)
    if density >= LANGUAGE_CHARACTERS_PER_TOKEN:
        return []
    return [f"the texts look random to the model's tokenizer ({density:.1f} characters a token)"]


def _modules(model: Any) -> tuple[str, bool]:
    modules = list(model)
    names = [type(module).__name__ for module in modules]
    if names not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        raise ExportError(
            f"the model's modules are {', '.join(names)}; edgekit knows Transformer, Pooling, Normalize, in this order",
            hint="a Dense layer after pooling is not exported yet",
        )
    pooling = modules[1].pooling_mode
    if pooling not in POOLINGS:
        raise ExportError(f"pooling {pooling!r} is not one of {', '.join(POOLINGS)}")
    if modules[0].do_lower_case or model.default_prompt_name:
        raise ExportError("the model changes its text (do_lower_case or a default prompt): not carried by bundles yet")
    return pooling, len(names) == 3
