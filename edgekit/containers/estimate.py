"""What an image will hold and how large it will be, from the packages that are installed here."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

import edgekit
from edgekit.bundle.reading import Bundle
from edgekit.containers.context import Recipe
from edgekit.containers.cuts import Cut, cut
from edgekit.errors import UsageError

# Uncompressed, roughly: nobody has measured them here, and they cannot be looked up without a registry.
BASES_MB: Final = {"python:3.13-slim-bookworm": 130}
LAMBDA_CLIENT_MB: Final = 3
COMPILED_MB: Final = 8  # what verifying and warming up leave behind, of the modules they import

_BYTECODE: Final = "__pycache__"  # pip is told to write none
_MB: Final = 1e6


@dataclass(frozen=True, slots=True)
class Estimate:
    """An image's content.

    Attributes:
        base_mb: The image it is built on; None where that is not known.
        packages_mb: What is installed, by package, the largest first.
        compiled_mb: Modules that are compiled while the image is built.
        bundle_mb: The bundle.
        missing: Packages that are not installed here, so that their size is not known.
    """

    base_mb: float | None
    packages_mb: dict[str, float]
    compiled_mb: float
    bundle_mb: float
    missing: tuple[str, ...]

    @property
    def without_bundle_mb(self) -> float | None:
        """All but the bundle; None where a part is not known."""
        if self.base_mb is None or self.missing:
            return None
        return self.base_mb + sum(self.packages_mb.values()) + self.compiled_mb


def estimate(bundle: Bundle, recipe: Recipe) -> Estimate:
    """Weigh an image that is yet to be built.

    Packages weigh what their files weigh here, without those that the Dockerfile removes and compiled modules.

    Args:
        bundle: The bundle.
        recipe: The image.

    Raises:
        UsageError: The package that reads requirements is missing.
    """
    found, missing = closure("edgekit", frozenset(recipe.extras(bundle.manifest)))
    sizes = {name: _size(name, recipe.cuts) / _MB for name in found - {"edgekit", *recipe.uninstalled}}
    sizes["edgekit"] = _own_size() / _MB
    if recipe.kind == "aws-lambda":
        sizes["awslambdaric"] = LAMBDA_CLIENT_MB
    ordered = dict(sorted(((name, round(size, 1)) for name, size in sizes.items()), key=lambda item: -item[1]))
    bundle_bytes = bundle.manifest_size + sum(entry.size for entry in bundle.manifest.files)
    return Estimate(
        BASES_MB.get(recipe.base.partition("@")[0]), ordered, COMPILED_MB, round(bundle_bytes / _MB, 1), tuple(missing)
    )


def closure(root: str, extras: frozenset[str]) -> tuple[set[str], list[str]]:
    """Distributions that one needs, itself included, and those of them that are not here.

    Raises:
        UsageError: The package that reads requirements is missing.
    """
    try:
        from packaging.requirements import Requirement
        from packaging.utils import canonicalize_name
    except ImportError as error:
        raise UsageError("an estimate needs 'packaging'", hint="pip install packaging") from error
    seen: set[tuple[str, frozenset[str]]] = set()
    found: set[str] = set()
    missing: list[str] = []
    waiting = [(root, extras)]
    while waiting:
        name, wanted = waiting.pop()
        if (name, wanted) in seen:
            continue
        seen.add((name, wanted))
        try:
            required = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
            continue
        found.add(name)
        for text in required:
            requirement = Requirement(text)
            chosen = wanted or {""}
            if requirement.marker is None or any(requirement.marker.evaluate({"extra": extra}) for extra in chosen):
                waiting.append((canonicalize_name(requirement.name), frozenset(requirement.extras)))
    return found, sorted(missing)


def _size(name: str, cuts: Sequence[Cut]) -> int:
    files = importlib.metadata.files(name) or []
    kept = (path for path in files if _BYTECODE not in path.parts and not cut(cuts, PurePosixPath(path)))
    return sum(place.stat().st_size for path in kept if (place := Path(str(path.locate()))).is_file())


def _own_size() -> int:
    """Bytes of edgekit itself, wherever it is imported from."""
    return sum(path.stat().st_size for path in _own_files(Path(edgekit.__file__).parent))


def _own_files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file() and _BYTECODE not in path.parts)
