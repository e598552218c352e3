"""What of the installed packages an image does without: the Dockerfile removes it, the estimate does not count it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Final

SITE_PACKAGES: Final = "/opt/edgekit/lib/python3*/site-packages"


@dataclass(frozen=True, slots=True)
class Cut:
    """Files that nothing in an image reads.

    Attributes:
        reason: A comment for the Dockerfile.
        paths: Folders and files below ``site-packages``, as a shell's patterns.
        folders: Names of folders, wherever they are.
        files: Names of files, as patterns, wherever they are.
        but: Packages whose files of such names stay.
    """

    reason: str
    paths: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    but: tuple[str, ...] = ()

    def holds(self, path: PurePosixPath) -> bool:
        """Whether it removes a file, given by its path below ``site-packages``."""
        return (
            any(name in path.parts[:-1] for name in self.folders)
            or (path.parts[0] not in self.but and any(fnmatchcase(path.name, pattern) for pattern in self.files))
            or any(_within(path, PurePosixPath(pattern)) for pattern in self.paths)
        )

    def commands(self) -> Iterator[str]:
        """The Dockerfile's lines."""
        yield f"# {self.reason}"
        if self.folders:
            yield f"RUN find {SITE_PACKAGES} -type d {_named(self.folders)} -prune -exec rm -rf {{}} +"
        if self.files:
            stay = "".join(f" -not -path '*/site-packages/{name}/*'" for name in self.but)
            yield f"RUN find {SITE_PACKAGES} -type f {_named(self.files)}{stay} -delete"
        if self.paths:
            yield f"RUN cd {SITE_PACKAGES} && rm -rf {' '.join(self.paths)}"


EVERYWHERE: Final = (
    Cut("Tests of the libraries.", folders=("tests",)),
    Cut(
        "For type checkers and compilers; Gradio would write its own stubs again.",
        files=("*.pyi", "*.pxd", "*.pyx", "*.c", "*.h", "*.a"),
        but=("gradio",),
    ),
    Cut(
        "ONNX Runtime a second time, for programs in C: Python's module links none of it. And what makes models.",
        paths=(
            "onnxruntime/capi/libonnxruntime.so*",
            *(f"onnxruntime/{name}" for name in ("backend", "datasets", "quantization", "tools", "transformers")),
        ),
    ),
    Cut(
        "numpy's way to Fortran, and a module for its own tests.",
        paths=("numpy/distutils", "numpy/f2py", "numpy/_core/_simd.*"),
    ),
)
DEMO: Final = (
    Cut("Gradio's pages drawn by a server of Node, which is off.", paths=("gradio/templates/node",)),
    Cut(
        "Gradio's examples; and cutting videos and plots, which no task's page has.",
        paths=(
            "gradio/media_assets",
            *(f"gradio/templates/frontend/{name}" for name in ("static/ffmpeg", "static/bokeh")),
            *(f"gradio/templates/frontend/assets/{name}Plot-*" for name in ("Altair", "Plotly")),
        ),
    ),
)


def cut(cuts: Sequence[Cut], path: PurePosixPath) -> bool:
    """Whether one of them removes a file, given by its path below ``site-packages``."""
    return any(one.holds(path) for one in cuts)


def _within(path: PurePosixPath, pattern: PurePosixPath) -> bool:
    if len(path.parts) < len(pattern.parts):
        return False
    return all(fnmatchcase(part, wanted) for part, wanted in zip(path.parts, pattern.parts, strict=False))


def _named(names: Sequence[str]) -> str:
    wanted = " -o ".join(f"-name {shlex.quote(name)}" for name in names)
    return rf"\( {wanted} \)" if len(names) > 1 else wanted
