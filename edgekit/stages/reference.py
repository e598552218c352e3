"""The reference: the original PyTorch model, in float32, unpatched.

This file and :mod:`.export` are the border to torch, transformers and sentence-transformers: their
exceptions are wrapped and their chatter is silenced here.
"""

from __future__ import annotations

import contextlib
import io
import logging
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgekit.errors import CheckpointError, ExportError, UsageError
from edgekit.spec.manifest import POOLINGS
from edgekit.spec.reader import nearest
from edgekit.stages.fetch import Checkpoint
from edgekit.stages.pickles import without_pickles

TASKS: Final = ("feature-extraction", "sentence-similarity")
_UNUSED_WEIGHTS: Final = ("pooler.",)  # heads an embedding never reads may be missing from a checkpoint


@dataclass(frozen=True, slots=True)
class Reference:
    """A loaded reference for embeddings.

    Attributes:
        task: Hugging Face task name.
        encoder: The transformers model that gives token states; a torch module.
        pooling: How token states become one vector, as sentence-transformers names it.
        normalize: Whether the vector is scaled to unit length.
        dimension: Length of the vector.
        max_length: Tokens a text is truncated to, special ones included.
        tokenizer_json: The tokenizer, as ``tokenizer.json`` without padding and truncation.
        pad_id: Id that fills a batch.
        pad_type_id: Token type id of padding.
    """

    task: str
    encoder: Any
    pooling: str
    normalize: bool
    dimension: int
    max_length: int
    tokenizer_json: bytes
    pad_id: int
    pad_type_id: int
    _model: Any

    def embed(self, texts: Sequence[str], *, batch_size: int = 32) -> npt.NDArray[np.float32]:
        """What ``SentenceTransformer.encode`` answers: float32, (texts, dimension)."""
        return np.asarray(
            self._model.encode(list(texts), batch_size=batch_size, convert_to_numpy=True, show_progress_bar=False),
            dtype=np.float32,
        )

    def embed_alone(self, text: str) -> npt.NDArray[np.float32]:
        """The answer to one text, computed on one thread, float32 (dimension,)."""
        import torch

        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            return np.asarray(self.embed([text])[0])
        finally:
            torch.set_num_threads(threads)

    def sample_inputs(self, texts: Sequence[str]) -> dict[str, Any]:
        """The encoder's inputs for a few texts, as torch tensors, padded to one length."""
        batch = self._model.tokenizer(
            list(texts), padding=True, truncation=True, max_length=self.max_length, return_tensors="pt"
        )
        return dict(batch)


def resolve_task(checkpoint: Checkpoint, task: str | None) -> str:
    """The task to export, by optimum's names and synonyms; from the checkpoint where none is given.

    Raises:
        UsageError: The task does not exist, or edgekit does not build bundles for it yet.
    """
    from optimum.exporters.tasks import TasksManager  # brings torch

    if task is None:
        task = checkpoint.card.task if checkpoint.card else _task_of(checkpoint)
    known = tuple(TasksManager.get_all_tasks())
    name = TasksManager.map_from_synonym(task)
    if name not in known:
        raise UsageError(
            f"{task!r} is no task", hint=nearest(task, known) or f"tasks edgekit builds: {', '.join(TASKS)}"
        )
    if name not in TASKS:
        raise UsageError(
            f"edgekit does not build bundles for {name} yet",
            hint=f"tasks it builds: {', '.join(TASKS)}; --task overrides what the checkpoint says",
        )
    return "feature-extraction" if name == "sentence-similarity" else name


def load_reference(checkpoint: Checkpoint, task: str, work: Path) -> Reference:
    """Load the model in float32 on the CPU.

    A sentence-transformers layout keeps its own pooling and normalisation; any other encoder gets
    mean pooling, which is what sentence-transformers gives it too.

    Args:
        checkpoint: From :func:`edgekit.stages.fetch.fetch`.
        task: From :func:`resolve_task`.
        work: A folder for a converted copy, needed for checkpoints of pickles only.

    Raises:
        CheckpointError: Config and weights disagree, or a file is broken.
        ExportError: A module that edgekit does not know follows the encoder.
    """
    folder = without_pickles(checkpoint.folder, work)
    with quiet():
        import torch
        from sentence_transformers import SentenceTransformer

        _check_weights(folder, task)
        try:
            model = SentenceTransformer(
                str(folder), device="cpu", local_files_only=True, model_kwargs={"dtype": torch.float32}
            )
        except Exception as error:
            raise CheckpointError(
                f"{checkpoint.folder}: sentence-transformers cannot load it: {_first_line(error)}",
                hint="check that config.json, tokenizer files and weights belong together",
            ) from error
    model.eval()
    pooling, normalize = _modules(model)
    tokenizer = model.tokenizer
    return Reference(
        task=task,
        encoder=model[0].auto_model,
        pooling=pooling,
        normalize=normalize,
        dimension=int(model.get_embedding_dimension()),
        max_length=int(model.max_seq_length or checkpoint.config["max_position_embeddings"]),
        tokenizer_json=_tokenizer_json(tokenizer, checkpoint.folder),
        pad_id=int(tokenizer.pad_token_id or 0),
        pad_type_id=int(tokenizer.pad_token_type_id),
        _model=model,
    )


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the chatter of torch and transformers off the user's terminal; errors still travel as exceptions."""
    previous = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(previous)


def _task_of(checkpoint: Checkpoint) -> str:
    if (checkpoint.folder / "modules.json").is_file():
        return "feature-extraction"
    name = checkpoint.source.architecture
    for head, task in (
        ("ForSequenceClassification", "text-classification"),
        ("ForTokenClassification", "token-classification"),
        ("ForQuestionAnswering", "question-answering"),
        ("ForCausalLM", "text-generation"),
        ("LMHeadModel", "text-generation"),
        ("ForConditionalGeneration", "text2text-generation"),
        ("ForImageClassification", "image-classification"),
    ):
        if name.endswith(head):
            return task
    return "feature-extraction"  # a bare encoder, or a masked language model whose encoder is wanted


def _check_weights(folder: Path, task: str) -> None:
    """Refuse weights that leave parameters at their random start, or hold more layers: transformers only warns."""
    from optimum.exporters.tasks import TasksManager

    model_class = TasksManager.get_model_class_for_task(task)
    try:
        model, loading = model_class.from_pretrained(folder, local_files_only=True, output_loading_info=True)
    except Exception as error:
        raise CheckpointError(
            f"{folder}: transformers cannot load it: {_first_line(error)}",
            hint="check that config.json and the weights belong together and the files are whole",
        ) from error
    missing = sorted(name for name in loading["missing_keys"] if not name.startswith(_UNUSED_WEIGHTS))
    if missing:
        raise CheckpointError(
            f"{folder}: config.json describes {len(missing)} parameters the weights do not hold, such as {missing[0]}",
            hint="config.json and the weights are of different models",
        )
    # Heads an embedding does not use are fine; another layer of what it does use is not.
    shapes = {_without_numbers(name) for name, _ in model.named_parameters()}
    prefix = f"{model.base_model_prefix}."
    extra = sorted(name for name in loading["unexpected_keys"] if _without_numbers(name.removeprefix(prefix)) in shapes)
    if extra:
        raise CheckpointError(
            f"{folder}: the weights hold {len(extra)} parameters that config.json does not describe, "
            f"such as {extra[0]}",
            hint="config.json and the weights are of different models",
        )


def _without_numbers(name: str) -> str:
    return re.sub(r"\d+", "#", name)


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


def _tokenizer_json(tokenizer: Any, folder: Path) -> bytes:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise CheckpointError(
            f"{folder}: the tokenizer has no fast form, and devices only read tokenizer.json",
            hint="convert it with transformers' AutoTokenizer(use_fast=True).save_pretrained",
        )
    if tokenizer.padding_side != "right" or tokenizer.truncation_side != "right":
        raise ExportError("the tokenizer pads or truncates on the left, which bundles do not carry yet")
    from tokenizers import Tokenizer

    plain = Tokenizer.from_str(backend.to_str())
    plain.no_padding()
    plain.no_truncation()
    return (plain.to_str(pretty=False) + "\n").encode()


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
