"""Writes what an image is built from: a Dockerfile, the packages it installs, and the bundle; nothing else."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Final

import edgekit
from edgekit.bundle.packing import copy_files
from edgekit.bundle.reading import Bundle
from edgekit.bundle.trust import Trust
from edgekit.containers.cuts import DEMO, EVERYWHERE, Cut
from edgekit.errors import InputError, OutputError, UsageError
from edgekit.spec.manifest import Manifest
from edgekit.spec.reader import nearest
from edgekit.spec.settings.generation import GenerationSettings

KINDS: Final = ("server", "demo", "aws-lambda", "cloud-run", "device")
BASE: Final = "python:3.13-slim-bookworm"

_SERVES: Final = ("server", "cloud-run")
_IMAGE: Final = re.compile(r"[a-z0-9][a-zA-Z0-9._/:@-]{0,254}")
_NAME: Final = re.compile(r"[^A-Za-z0-9._-]")
_LAMBDA_CLIENT: Final = "awslambdaric>=3,<5"
# Modules that are compiled while the image is built, beside those that verifying imports.
_WARM: Final = "edgekit.cli.app, edgekit.serve.app, edgekit.serve.server"


@dataclass(frozen=True, slots=True)
class Recipe:
    """An image to be built.

    Attributes:
        kind: One of :data:`KINDS`.
        base: The image it is built on.
        wheel: edgekit's own wheel, to install that instead of the release of this version.
        trust: Public keys, one of which must have signed the bundle wherever the image runs.
    """

    kind: str
    base: str = BASE
    wheel: Path | None = None
    trust: Path | None = None

    def __post_init__(self) -> None:
        """Refuse what there is no recipe for.

        Raises:
            UsageError: Naming it.
        """
        if self.kind not in KINDS:
            raise UsageError(f"--for {self.kind!r}: expected one of {', '.join(KINDS)}", hint=nearest(self.kind, KINDS))
        if not _IMAGE.fullmatch(self.base):
            raise UsageError(f"--base {self.base!r}: is no image's name", hint=f"for example {BASE}")
        if self.wheel is not None and self.wheel.suffix != ".whl":
            raise UsageError(f"--wheel {self.wheel}: is no wheel")

    def extras(self, manifest: Manifest) -> tuple[str, ...]:
        """The extras of edgekit that a bundle needs in it."""
        generation = manifest.settings.get(GenerationSettings.key)
        wanted = {
            "chat": isinstance(generation, GenerationSettings) and bool(generation.chat_template),
            "image": "image" in manifest.settings and self.kind != "demo",  # Gradio decodes them, by its own Pillow
            "serve": self.kind in _SERVES,
            "sign": self.trust is not None,
            "ui": self.kind == "demo",
        }
        return tuple(name for name, needed in wanted.items() if needed)

    @property
    def uninstalled(self) -> tuple[str, ...]:
        """Packages that others ask for, and that nothing in the image imports."""
        return ("hf-xet",) if self.kind == "demo" else ("huggingface-hub", "hf-xet", "fsspec")

    @property
    def cuts(self) -> tuple[Cut, ...]:
        """What of the packages it does without."""
        return (*EVERYWHERE, *DEMO) if self.kind == "demo" else EVERYWHERE


def write_context(bundle: Bundle, recipe: Recipe, folder: Path) -> list[str]:
    """Write the folder that ``docker build`` is given. It appears whole, or not at all.

    Args:
        bundle: The open bundle; every byte of it is held to its manifest while it is copied.
        recipe: What to write.
        folder: Must not exist.

    Returns:
        Paths of the files, relative to the folder.

    Raises:
        OutputError: The folder exists, or cannot be written.
        IntegrityError: A file of the bundle is not what its manifest lists, or no trusted key signed it.
        InputError: The wheel cannot be read.
        UsageError: The folder of keys holds none.
    """
    if folder.exists() or folder.is_symlink():
        raise OutputError(f"{folder}: is there already", hint="name another folder, or remove it")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written: {error.strerror}", hint="name another folder") from error
    try:
        for path, data in _files(bundle, recipe):
            (draft / path).parent.mkdir(parents=True, exist_ok=True)
            (draft / path).write_bytes(data)
        copied = draft / "srv/bundle"
        copied.mkdir(parents=True, exist_ok=True)
        copy_files(bundle, copied)
        for written in (draft, *draft.rglob("*")):  # whoever the container runs as reads them
            written.chmod(0o755 if written.is_dir() else 0o644)
        draft.rename(folder)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written: {error.strerror}", hint="name another folder") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def dockerfile(bundle: Bundle, recipe: Recipe) -> str:
    """The Dockerfile's text."""
    manifest = bundle.manifest
    warm = f'RUN /opt/edgekit/bin/python -c "import {_WARM}"\n' if recipe.kind in _SERVES else ""
    values = {
        "VERSION": edgekit.__version__,
        "BUNDLE": _NAME.sub("-", manifest.name),
        "NAME": _NAME.sub("-", manifest.name)[:64],
        "RELEASE": _NAME.sub("-", manifest.version),
        "LICENSE": _NAME.sub("-", manifest.source.license),
        "DIGEST": bundle.manifest_sha256,
        "BASE": recipe.base,
        "WARM": warm,
        "UNINSTALLED": " ".join(recipe.uninstalled),
        "CUTS": "\n".join(line for cut in recipe.cuts for line in cut.commands()),
    }
    text = _template("build.dockerfile") + _template(f"{recipe.kind}.dockerfile")
    if recipe.trust is not None:
        text = text.replace("USER 10001", "ENV EDGEKIT_TRUST=/srv/trust\nUSER 10001")
    return re.sub("@([A-Z]+)@", lambda match: values[match[1]], text)


def requirements(bundle: Bundle, recipe: Recipe) -> str:
    """The packages that the image installs, one a line."""
    extras = recipe.extras(bundle.manifest)
    name = f"edgekit[{','.join(extras)}]" if extras else "edgekit"
    own = f"{name} @ file:///build/{recipe.wheel.name}" if recipe.wheel else f"{name}=={edgekit.__version__}"
    lines = [own, f"onnxruntime{bundle.manifest.onnxruntime}"]
    return "\n".join([*lines, *([_LAMBDA_CLIENT] if recipe.kind == "aws-lambda" else [])]) + "\n"


def _files(bundle: Bundle, recipe: Recipe) -> Iterator[tuple[str, bytes]]:
    yield "Dockerfile", dockerfile(bundle, recipe).encode()
    yield ".dockerignore", b"*\n!packages\n!srv\n!handler.py\n"
    yield "packages/requirements.txt", requirements(bundle, recipe).encode()
    if recipe.wheel is not None:
        try:
            yield f"packages/{recipe.wheel.name}", recipe.wheel.read_bytes()
        except OSError as error:
            raise InputError(f"{recipe.wheel}: cannot be read: {error.strerror}") from error
    if recipe.kind == "aws-lambda":
        yield "handler.py", _template("handler.py").encode()
    if recipe.trust is not None:
        Trust.of(recipe.trust).require(bundle)  # an image that will never open its bundle is of no use
        for path in sorted(recipe.trust.iterdir()):
            if path.suffix in (".pem", ".pub"):
                yield f"srv/trust/{path.name}", path.read_bytes()


def _template(name: str) -> str:
    return resources.files("edgekit.containers").joinpath("templates", name).read_text("utf-8")
