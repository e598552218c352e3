"""``hf://OWNER/NAME``: a bundle as a repository of the Hugging Face hub, through ``huggingface_hub``."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edgekit.bundle.paths import check_paths
from edgekit.bundle.reading import Bundle
from edgekit.bundle.trust import Standing, Trust
from edgekit.bundle.writing import check_destination, draft_folder, output_error, publish, set_modes
from edgekit.errors import IntegrityError, RegistryError, UsageError
from edgekit.spec.manifest import MANIFEST_NAME, MAX_MANIFEST_BYTES, SIGNATURE_NAME, Manifest

if TYPE_CHECKING:
    from huggingface_hub import HfApi

SCHEME: Final = "hf://"
CARD: Final = "MODEL_CARD.md"
README: Final = "README.md"  # what the hub shows; no part of the bundle

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
_REVISION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,127}")

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class HubReference:
    """A repository of the hub, and a commit, tag or branch of it; empty for its main branch."""

    repository: str
    revision: str

    @classmethod
    def parse(cls, text: str) -> HubReference:
        """Read ``hf://OWNER/NAME[@REVISION]``.

        Raises:
            UsageError: It is something else.
        """
        name, at, revision = text.removeprefix(SCHEME).partition("@")
        good = text.startswith(SCHEME) and _NAME.fullmatch(name) and ".." not in text and "--" not in name
        if not good or (at and not _REVISION.fullmatch(revision)):
            raise UsageError(f"{text!r}: names no repository of the hub", hint="expected hf://OWNER/NAME[@REVISION]")
        return cls(name, revision)

    def __str__(self) -> str:
        return f"{SCHEME}{self.repository}{'@' if self.revision else ''}{self.revision}"


def push(bundle: Bundle, reference: HubReference, *, token: str | None = None, private: bool = False) -> str:
    """Write a bundle into a repository of the hub, as one commit, and make the repository if need be.

    Args:
        bundle: A folder; verified first.
        reference: Where to; a revision is a branch.
        token: Access token; ``HF_TOKEN`` or the saved one where None.
        private: Whether a repository that is made is private.

    Returns:
        The commit.

    Raises:
        IntegrityError: The bundle is not what it lists.
        RegistryError: The hub does not take it.
        UsageError: The bundle is a packed file, or the package ``huggingface_hub`` is missing.
    """
    if not bundle.root.is_dir():
        raise UsageError(f"{bundle.root}: the hub takes folders", hint="unpack it first")
    bundle.verify()
    api = _api(token)
    from huggingface_hub import CommitOperationAdd

    paths = [MANIFEST_NAME, *(entry.path for entry in bundle.manifest.files)]
    paths += [SIGNATURE_NAME] if bundle.signature_bytes() is not None else []
    added = [CommitOperationAdd(path, str(bundle.root / path)) for path in paths]
    if CARD in paths and README not in paths:
        added.append(CommitOperationAdd(README, bytes(bundle.read(CARD))))
    with _typed(reference):
        api.create_repo(reference.repository, private=private, exist_ok=True)
        commit = api.create_commit(
            reference.repository,
            added,
            commit_message=f"{bundle.manifest.name} {bundle.manifest.version}, release {bundle.manifest.release}",
            revision=reference.revision or None,
        )
    return str(commit.oid)


def pull(
    reference: HubReference,
    destination: Path,
    *,
    policy: Trust | None = None,
    replace: bool = False,
    token: str | None = None,
    progress: Progress | None = None,
) -> tuple[Bundle, Standing]:
    """Read a bundle from a repository of the hub: the files that ``edgekit.json`` lists, of one commit, and no others.

    What was fetched of an earlier, interrupted run is kept beside the destination (``.NAME.pull``) and used.

    Args:
        reference: Where from.
        destination: The folder to make.
        policy: Whose bundles are taken; anybody's where None.
        replace: Whether a bundle that is there may be replaced.
        token: Access token; ``HF_TOKEN`` or the saved one where None.
        progress: Called with (bytes done, bytes in all) while the files are verified.

    Raises:
        IntegrityError: What the hub sends is not what the manifest lists, or not what the policy takes.
        RegistryError: The hub does not send it.
        OutputError: Something is at the destination, or it cannot be written.
    """
    check_destination(destination, replace=replace)
    kept = destination.with_name(f".{destination.name}.pull")
    api = _api(token)
    with _typed(reference):
        commit = str(api.model_info(reference.repository, revision=reference.revision or "main").sha)
        listed = _fetch(api, reference, commit, MANIFEST_NAME, kept)
    if listed.stat().st_size > MAX_MANIFEST_BYTES:
        raise IntegrityError(f"{MANIFEST_NAME}: is over the limit of {MAX_MANIFEST_BYTES} bytes")
    paths = [entry.path for entry in Manifest.from_json(listed.read_bytes()).files]
    check_paths([MANIFEST_NAME, SIGNATURE_NAME, *paths])
    with draft_folder(destination) as draft:
        fetched = {path: _get(api, reference, commit, path, kept) for path in [MANIFEST_NAME, *paths]}
        signature = _get(api, reference, commit, SIGNATURE_NAME, kept, optional=True)
        try:
            for path, file in (fetched | ({SIGNATURE_NAME: signature} if signature else {})).items():
                (draft / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(str(file), draft / path)
        except OSError as error:
            raise output_error(draft, "cannot be written", error) from error
        set_modes(draft)
        opened = Bundle.open(draft)
        standing = (policy or Trust()).require(opened)
        opened.verify(progress)
        bundle = publish(draft, destination, replace=replace)
    shutil.rmtree(kept, ignore_errors=True)
    return bundle, standing


def _get(
    api: HfApi, reference: HubReference, commit: str, path: str, folder: Path, *, optional: bool = False
) -> Path | None:
    from huggingface_hub.errors import RemoteEntryNotFoundError

    with _typed(reference):
        try:
            return _fetch(api, reference, commit, path, folder)
        except RemoteEntryNotFoundError:
            if optional:
                return None
            raise IntegrityError(f"{path}: is listed in {MANIFEST_NAME} but not in {reference}") from None


def _fetch(api: HfApi, reference: HubReference, commit: str, path: str, folder: Path) -> Path:
    return Path(api.hf_hub_download(reference.repository, path, revision=commit, local_dir=folder))


def _api(token: str | None) -> HfApi:
    try:
        from huggingface_hub import HfApi
        from huggingface_hub.utils.tqdm import disable_progress_bars
    except ImportError as error:
        raise UsageError("the hub needs the package huggingface_hub", hint="pip install 'edgekit[hub]'") from error
    disable_progress_bars()
    return HfApi(token=token, library_name="edgekit")


@contextmanager
def _typed(reference: HubReference) -> Iterator[None]:
    """The one border to huggingface_hub: its errors leave as ours."""
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    secret = "pass --token, set HF_TOKEN, or log in with `hf auth login`"  # noqa: S105
    try:
        yield
    except GatedRepoError as error:
        raise RegistryError(f"{reference}: access must be asked for on the hub", hint=secret) from error
    except RevisionNotFoundError as error:
        raise RegistryError(f"{reference}: there is no such revision", hint="use a commit, tag or branch") from error
    except RepositoryNotFoundError as error:
        raise RegistryError(f"{reference}: there is no such repository, or it is private", hint=secret) from error
    except HfHubHTTPError as error:
        status = getattr(error.response, "status_code", "nothing")
        raise RegistryError(f"{reference}: the hub answers {status}", hint=secret) from error
    except (LocalEntryNotFoundError, OSError, ValueError) as error:
        raise RegistryError(
            f"{reference}: the hub cannot be reached or does not send it ({type(error).__name__})",
            hint="check the network or HF_ENDPOINT; what was fetched is kept",
        ) from error
