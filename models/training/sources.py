"""Text every machine has: documentation strings and source lines of Python and of installed packages.

Files are parsed, never imported or run.
"""

from __future__ import annotations

import ast
import importlib.util
import sysconfig
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SKIPPED_FOLDERS: Final = frozenset(
    {"__pycache__", "dist-packages", "ensurepip", "idle_test", "lib2to3", "site-packages", "test", "testing", "tests"}
)
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass(frozen=True, slots=True)
class Documented:
    """A module, class or function that has a documentation string.

    Attributes:
        module: Dotted name of the module, for example ``email.message``.
        name: Qualified name inside the module; empty for the module itself.
        signature: ``name(parameters)`` as one line; for a module its dotted name.
        docstring: As :func:`inspect.cleandoc` gives it.
    """

    module: str
    name: str
    signature: str
    docstring: str

    @property
    def key(self) -> str:
        """The object's full name, the same on every machine that has it."""
        return f"{self.module}:{self.name}"


def standard_library() -> Path:
    """The folder of the standard library's sources."""
    return Path(sysconfig.get_path("stdlib"))


def package_folder(name: str) -> Path:
    """The folder of an installed package, found without importing it.

    Raises:
        ModuleNotFoundError: It is not installed.
    """
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"training reads the sources of {name!r}, which is not installed", name=name)
    return Path(spec.submodule_search_locations[0])


def source_files(folder: Path) -> Iterator[Path]:
    """Every Python file under the folder, without tests, in one order on every machine."""
    found = (path.relative_to(folder) for path in folder.rglob("*.py"))
    for path in sorted(found, key=lambda path: path.as_posix()):
        if not SKIPPED_FOLDERS.intersection(path.parts):
            yield folder / path


def documented(folder: Path, prefix: str = "") -> Iterator[Documented]:
    """Every object under the folder that has a documentation string.

    Args:
        folder: Root of the sources.
        prefix: What dotted names start with; the package's name, or empty for the standard library.
    """
    for path in source_files(folder):
        tree = parsed(path.read_bytes())
        if tree is not None:
            yield from _objects(tree, module_name(path.relative_to(folder), prefix))


def parsed(source: bytes) -> ast.Module | None:
    """The syntax tree, or None for what this Python does not read (templates, files of another version)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # odd escapes in other people's sources
        try:
            return ast.parse(source)
        except (SyntaxError, ValueError):
            return None


def module_name(path: Path, prefix: str = "") -> str:
    """``email/message.py`` as ``email.message``; a package's ``__init__`` has the package's name."""
    parts = [*([prefix] if prefix else []), *path.with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def _objects(tree: ast.Module, module: str) -> Iterator[Documented]:
    docstring = ast.get_docstring(tree)
    if docstring:
        yield Documented(module, "", module, docstring)
    waiting: list[tuple[str, ast.AST]] = [("", tree)]
    while waiting:
        outer, node = waiting.pop()
        inner: list[tuple[str, ast.AST]] = []
        for child in ast.iter_child_nodes(node):
            if isinstance(child, Definition):
                name = f"{outer}.{child.name}" if outer else child.name
                docstring = ast.get_docstring(child)
                if docstring:
                    yield Documented(module, name, _signature(child), docstring)
                inner.append((name, child))
            elif isinstance(child, ast.stmt):
                inner.append((outer, child))  # definitions under if, try and with
        waiting += reversed(inner)


def _signature(node: Definition) -> str:
    if isinstance(node, ast.ClassDef):
        return f"class {node.name}"
    arguments = node.args
    named = [*arguments.posonlyargs, *arguments.args]
    if named and named[0].arg in {"self", "cls"}:
        named = named[1:]
    names = [argument.arg for argument in named]
    if arguments.vararg:
        names.append(f"*{arguments.vararg.arg}")
    names += [argument.arg for argument in arguments.kwonlyargs]
    if arguments.kwarg:
        names.append(f"**{arguments.kwarg.arg}")
    return f"{node.name}({', '.join(names)})"
