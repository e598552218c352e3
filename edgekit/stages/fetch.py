"""Fetch: from what the user named to a folder that holds a checkpoint edgekit is willing to read.

Nothing of the checkpoint is executed: weights are safetensors, and a config that asks for its own
code is refused; what parses its files meets them in a child process first (:mod:`.inspection`). A
pickle is read only when asked for, in a child process too (:mod:`.pickles`).
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from edgekit import catalog
from edgekit.errors import CheckpointError, UsageError
from edgekit.spec.manifest import Source
from edgekit.spec.model import ModelCard, Published, Trained
from edgekit.spec.reader import nearest, parse_json
from edgekit.stages import train, weight_files
from edgekit.stages.inspection import inspect
from edgekit.stages.request import BuildRequest

PICKLES: Final = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
_HUB_FILES: Final = ["*.json", "*.txt", "*.model", "*.safetensors", "README.md"]
_HUB_PICKLES: Final = ["pytorch_model*.bin"]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint on disk.

    Attributes:
        folder: Where it lies.
        name: A name for the bundle.
        source: Identity, revision and licence, as they go into the bundle.
        config: The content of ``config.json``.
        card: The catalog's card, where the model is one of edgekit's own.
        own_data: Files for calibration and for judging that came with it, in this order; None where none did.
    """

    folder: Path
    name: str
    source: Source
    config: Mapping[str, Any]
    card: ModelCard | None
    own_data: tuple[Path, Path] | None = None


def fetch(
    model: str,
    *,
    revision: str | None = None,
    token: str | None = None,
    allow_pickle: bool = False,
    parse: bool = True,
) -> Checkpoint:
    """Find a checkpoint by catalog name, local folder or hub id.

    Args:
        model: A name from ``models/``, a folder, or ``owner/name`` on the hub.
        revision: Commit, tag or branch on the hub; for a catalog name the card's commit.
        token: Access token; without one huggingface_hub looks where it always does.
        allow_pickle: Whether a checkpoint without safetensors may be used at all.
        parse: Whether the caller will parse more than its configuration, so that :mod:`.inspection` has to come first.

    Raises:
        UsageError: No such model.
        CheckpointError: There is something, but no checkpoint that may be read.
    """
    cards = catalog.models()
    if model in cards:
        return _from_card(cards[model], revision, token)
    if Path(model).is_dir():
        folder = Path(model)
        checkpoint = _read(folder, folder.resolve().name, None, None, allow_pickle=allow_pickle)
    elif re.fullmatch(r"[\w.-]+/[\w.-]+", model, re.ASCII) and not model.startswith("."):
        folder = _from_hub(model, revision, token, allow_pickle=allow_pickle)
        # snapshot_download names the folder after the commit it resolved the revision to.
        checkpoint = _read(folder, model, folder.name, None, allow_pickle=allow_pickle)
    else:
        raise UsageError(
            f"{model!r} is no model of edgekit, no folder and no hub id",
            hint=nearest(model, tuple(cards)) or f"known models: {', '.join(sorted(cards))}; a hub id is owner/name",
        )
    if parse:  # edgekit's own are pinned by digest or made here
        inspect(checkpoint.folder, checkpoint.config)
    return checkpoint


def requested(request: BuildRequest, *, parse: bool = True) -> Checkpoint:
    """:func:`fetch` of what a build is asked for; where the original is kept already, it was inspected for that."""
    return fetch(
        request.model,
        revision=request.revision,
        token=request.token,
        allow_pickle=request.allow_pickle,
        parse=parse and request.original is None,
    )


def _from_card(card: ModelCard, revision: str | None, token: str | None) -> Checkpoint:
    origin = card.origin
    if isinstance(origin, Trained):
        if revision is not None:
            raise UsageError(f"{card.name} is trained on this machine: it has no revision {revision!r}")
        folder = train.trained(card, lambda _done, _total: None)
        read = _read(folder, f"edgekit/{card.name}", folder.name.rpartition("-")[2], card, allow_pickle=False)
        return replace(read, own_data=(folder / train.CALIBRATION, folder / train.EVALUATION))
    folder = _packaged(origin) or _from_hub(origin.hub_id, revision or origin.revision, token, allow_pickle=False)
    checkpoint = _read(folder, origin.hub_id, revision or origin.revision, card, allow_pickle=False)
    if revision in (None, origin.revision) and checkpoint.source.weights_sha256 != origin.weights_sha256:
        raise CheckpointError(
            f"{folder}: the weights' sha256 is {checkpoint.source.weights_sha256}, the card of {card.name} pins "
            f"{origin.weights_sha256}",
            hint="the download is damaged or is another model: fetch it again",
        )
    return checkpoint


def _packaged(origin: Published) -> Path | None:
    """The checkpoint inside an installed package; found without importing it, so without running its code."""
    spec = importlib.util.find_spec(origin.module) if origin.module else None
    if spec is None or not spec.submodule_search_locations:
        return None
    folder = Path(spec.submodule_search_locations[0]) / origin.package_path
    return folder if (folder / "config.json").is_file() else None


def _from_hub(hub_id: str, revision: str | None, token: str | None, *, allow_pickle: bool) -> Path:
    from huggingface_hub import snapshot_download  # slow to import, and not needed for local folders
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    patterns = _HUB_FILES + (_HUB_PICKLES if allow_pickle else [])
    try:
        return Path(snapshot_download(hub_id, revision=revision, token=token, allow_patterns=patterns))
    except GatedRepoError as error:
        raise CheckpointError(
            f"{hub_id}: access to this repository must be asked for on the hub",
            hint="accept its terms there, then pass --token or set HF_TOKEN",
        ) from error
    except RevisionNotFoundError as error:
        raise CheckpointError(
            f"{hub_id}: there is no revision {revision!r}", hint="use a commit, tag or branch"
        ) from error
    except RepositoryNotFoundError as error:
        raise CheckpointError(
            f"{hub_id}: there is no such repository on the hub, or it is private",
            hint="check the spelling; for a private one pass --token or set HF_TOKEN",
        ) from error
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise CheckpointError(
            f"{hub_id}: the hub cannot be reached and the local cache does not hold it ({type(error).__name__})",
            hint="check the network or HF_ENDPOINT, or pass a local folder",
        ) from error


def _read(
    folder: Path, source_name: str, revision: str | None, card: ModelCard | None, *, allow_pickle: bool
) -> Checkpoint:
    config = _config(folder)
    weights = _weight_files(folder, allow_pickle=allow_pickle)
    digest = _digest(weights)
    architectures = config.get("architectures") or [config.get("model_type", "unknown")]
    source = Source(
        name=source_name,
        revision=revision or f"sha256:{digest[:16]}",
        license=card.license if card else _license(folder),
        architecture=str(architectures[0]),
        weights_sha256=digest,
    )
    name = card.name if card else re.sub(r"[^A-Za-z0-9._+-]", "-", source_name.rpartition("/")[2]).lstrip("._+-")
    return Checkpoint(folder, name or "model", source, config, card)


def _config(folder: Path) -> Mapping[str, Any]:
    path = folder / "config.json"
    if not path.is_file():
        raise CheckpointError(
            f"{folder}: no checkpoint: it has no config.json",
            hint="name the folder that save_pretrained wrote (config.json, *.safetensors, tokenizer.json)",
        )
    try:
        parse_json(path.read_bytes(), str(path))
        config: dict[str, Any] = json.loads(path.read_bytes())
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error
    if config.get("auto_map"):
        raise CheckpointError(
            f"{path}: 'auto_map' asks for code of the checkpoint's own to be run, which edgekit never does",
            hint="use a checkpoint whose architecture transformers ships",
        )
    return config


def _weight_files(folder: Path, *, allow_pickle: bool) -> list[Path]:
    found = weight_files.safetensors(folder)
    if found:
        return found
    pickles = sorted(path for path in folder.iterdir() if path.suffix in PICKLES and path.is_file())
    if not pickles:
        raise CheckpointError(
            f"{folder}: no weights: expected *.safetensors", hint="save the model again with save_pretrained"
        )
    if not allow_pickle:
        raise CheckpointError(
            f"{folder}: the weights ({pickles[0].name}) are a pickle, which can run code when read",
            hint="convert them to safetensors, or pass --allow-pickle if you trust where they come from",
        )
    return pickles


def _digest(files: list[Path]) -> str:
    """The file's own sha256, or for several files the sha256 of their digests in order of name."""
    digests = []
    for path in files:
        with path.open("rb") as stream:
            digests.append(hashlib.file_digest(stream, "sha256").hexdigest())
    return digests[0] if len(digests) == 1 else hashlib.sha256("\n".join(digests).encode()).hexdigest()


def _license(folder: Path) -> str:
    """The ``license`` of the model card's front matter, lower case, or ``unknown``."""
    readme = folder / "README.md"
    if not readme.is_file():
        return "unknown"
    front_matter = re.match(r"---\s*\n(.*?)\n---", readme.read_text("utf-8", errors="replace"), re.DOTALL)
    match = re.search(r"^license:\s*['\"]?([\w.+-]+)", front_matter[1], re.MULTILINE) if front_matter else None
    return match[1].lower() if match else "unknown"
