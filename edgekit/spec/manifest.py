"""``edgekit.json``: what a bundle is and every file it holds.

The page docs/bundle-format.md describes the format for people; this file is the format.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final, TypeVar

from edgekit.errors import IntegrityError, RecordError
from edgekit.spec.checksum import seal
from edgekit.spec.manifest_1 import upgraded
from edgekit.spec.reader import Table, parse_json
from edgekit.spec.settings.section import Section
from edgekit.spec.target import Target

SCHEMA_MAJOR: Final = 2
SCHEMA_MINOR: Final = 0
MANIFEST_NAME: Final = "edgekit.json"
SIGNATURE_NAME: Final = "model.sig"  # the one file that is not listed: it signs the list

MAX_MANIFEST_BYTES: Final = 4 * 1024 * 1024
MAX_SIGNATURE_BYTES: Final = 8 * 1024 * 1024
MAX_FILES: Final = 4096
MAX_FILE_BYTES: Final = 1 << 42

VERDICTS: Final = ("pass", "fail", "unproven")

# What may stand under "settings", by key: its file and class, imported where a bundle has it and not before.
SECTIONS: Final = {
    "answering": "answering:AnsweringSettings",
    "audio": "audio:AudioSettings",
    "contrast": "contrast:ContrastSettings",
    "ctc": "audio:CtcSettings",
    "embedding": "embedding:EmbeddingSettings",
    "features": "features:FeatureSettings",
    "generation": "generation:GenerationSettings",
    "image": "image:ImageSettings",
    "labels": "labels:LabelSettings",
    "masks": "masks:MaskSettings",
    "ranking": "ranking:RankingSettings",
    "speech": "speech:SpeechSettings",
    "text": "text:TextSettings",
    "tokens": "tokens:TokenSettings",
    "zero_shot": "zero_shot:ZeroShotSettings",
}

_Section = TypeVar("_Section", bound=Section)


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file of a bundle.

    Attributes:
        path: Relative, with forward slashes; see :mod:`edgekit.bundle.paths`.
        size: In bytes.
        sha256: 64 lower-case hexadecimal digits.
    """

    path: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Source:
    """Where the model came from.

    Attributes:
        name: Hub id, package or folder name.
        revision: A commit, a package version, or ``sha256:…`` of the weights of a local folder.
        license: SPDX identifier in lower case, or ``unknown``.
        architecture: The checkpoint's model class.
        weights_sha256: Digest over the checkpoint's weight files.
    """

    name: str
    revision: str
    license: str
    architecture: str
    weights_sha256: str


@dataclass(frozen=True, slots=True)
class Tensor:
    """An input or output of a graph: name, numpy dtype name, shape (names are free dimensions)."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True, slots=True)
class Component:
    """One graph of the model: what it takes and gives, whichever variant it is from."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


@dataclass(frozen=True, slots=True)
class Variant:
    """The graphs one recipe made, one for each component.

    Attributes:
        name: Unique in the bundle; also its name in ONNX Runtime's package.
        recipe: The recipe as resolved, for example ``int8-dynamic+smooth``.
        precision: ``float32``, ``int8``, …
        folder: Its folder in the bundle.
        graphs: The ONNX file inside ``folder``, by component. Their weights share one file there.
        targets: Names of the targets it serves.
        runs_anywhere: Whether its answers are right on every CPU of the bundle's architectures
            (no product can saturate), so that a runtime that knows no CPU features may take it.
        session_options: ONNX Runtime session configuration entries it was judged with.
        opset: ONNX opset of the default domain.
        parity: Verdict, one of :data:`VERDICTS`.
        self_test_min: The least agreement with the golden answers that the self-test accepts, 1 being the
            very same; see :func:`edgekit.runtime.answers.agreement`.
    """

    name: str
    recipe: str
    precision: str
    folder: str
    graphs: Mapping[str, str]
    targets: tuple[str, ...]
    runs_anywhere: bool
    session_options: Mapping[str, str]
    opset: int
    parity: str
    self_test_min: float

    def graph_path(self, component: str) -> str:
        """Path of a component's ONNX file inside the bundle.

        Raises:
            KeyError: There is no such component.
        """
        return f"{self.folder}/{self.graphs[component]}"


@dataclass(frozen=True, slots=True)
class Manifest:
    """A parsed ``edgekit.json``. ``variants`` stand in order of preference."""

    name: str
    version: str
    release: int
    task: str
    source: Source
    generator: Mapping[str, str]
    onnxruntime: str
    components: Mapping[str, Component]
    settings: Mapping[str, Section]
    golden: str
    targets: Mapping[str, Target]
    variants: tuple[Variant, ...]
    files: tuple[FileEntry, ...]

    def variant(self, name: str) -> Variant:
        """The variant of that name.

        Raises:
            KeyError: There is none.
        """
        for variant in self.variants:
            if variant.name == name:
                return variant
        raise KeyError(name)

    def section(self, kind: type[_Section]) -> _Section:
        """The settings of a kind.

        Raises:
            IntegrityError: The bundle has none, which its task needs.
        """
        section = self.settings.get(kind.key)
        if not isinstance(section, kind):
            raise IntegrityError(
                f"{MANIFEST_NAME}: settings: missing key {kind.key!r}, which task {self.task} needs",
                hint="the bundle is not of this task; export it again",
            )
        return section

    def to_json(self) -> bytes:
        """The canonical bytes of ``edgekit.json``: sorted keys, two-space indent, a newline at the end."""
        document: dict[str, Any] = {
            "checksum": "0" * 64,
            "schema_version": f"{SCHEMA_MAJOR}.{SCHEMA_MINOR}",
            "name": self.name,
            "version": self.version,
            "release": self.release,
            "task": self.task,
            "source": _fields(self.source),
            "generator": dict(self.generator),
            "requires": {"onnxruntime": self.onnxruntime},
            "components": {name: _component_json(component) for name, component in self.components.items()},
            "settings": {name: section.to_json() for name, section in self.settings.items()},
            "golden": self.golden,
            "targets": {name: target.to_json() for name, target in self.targets.items()},
            "variants": [_variant_json(variant) for variant in self.variants],
            "files": [_fields(entry) for entry in sorted(self.files, key=lambda entry: entry.path)],
        }
        text = json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        return seal(text.encode(), MANIFEST_NAME)

    @classmethod
    def from_json(cls, data: bytes) -> Manifest:
        """Parse ``edgekit.json``.

        An unknown key is refused while the minor version is known, and ignored from a newer minor
        version, whose additions an old reader may skip by the format's rule.

        Raises:
            IntegrityError: The document is not a manifest this version reads.
        """
        damaged = "the bundle is damaged; get it again"
        try:
            manifest = _read_manifest(upgraded(parse_json(data, MANIFEST_NAME, max_bytes=MAX_MANIFEST_BYTES)))
            sealed = seal(data, MANIFEST_NAME)
        except RecordError as error:
            raise IntegrityError(error.message, hint=error.hint or damaged) from error
        if sealed != data:
            raise IntegrityError(f"{MANIFEST_NAME}: checksum: the file is not as it was written", hint=damaged)
        return manifest


def _read_manifest(table: Table) -> Manifest:
    strict = _check_schema(table)
    variants = tuple(_read_variant(item, strict=strict) for item in table.tables("variants", max_items=256))
    targets = {name: Target.read(name, item) for name, item in table.named_tables("targets")}
    requires = table.table("requires")
    _digest(table, "checksum")
    manifest = Manifest(
        name=_identifier(table, "name"),
        version=_identifier(table, "version"),
        release=table.integer("release"),
        task=table.string("task"),
        source=_read_source(table.table("source"), strict=strict),
        generator=table.string_map("generator"),
        onnxruntime=requires.string("onnxruntime"),
        components={name: _read_component(item, strict=strict) for name, item in table.named_tables("components")},
        settings=_read_settings(table.table("settings"), strict=strict),
        golden=table.string("golden"),
        targets=targets,
        variants=variants,
        files=tuple(_read_file(item, strict=strict) for item in table.tables("files", max_items=MAX_FILES)),
    )
    _close(table, strict=strict)
    _close(requires, strict=strict)
    _check_references(table, manifest)
    return manifest


def _check_schema(table: Table) -> bool:
    text = table.string("schema_version")
    match = re.fullmatch(r"(\d{1,4})\.(\d{1,4})", text)
    if not match:
        raise table.error("schema_version", f"{text!r} is not MAJOR.MINOR")
    major, minor = int(match[1]), int(match[2])
    if major != SCHEMA_MAJOR:
        raise RecordError(
            f"{table.path}: schema_version: this edgekit reads 1.x and {SCHEMA_MAJOR}.x, the bundle is {text}",
            hint="a newer edgekit may read it: pip install --upgrade edgekit",
        )
    return minor <= SCHEMA_MINOR


def _check_references(table: Table, manifest: Manifest) -> None:
    listed = {entry.path for entry in manifest.files}
    named = [("golden", manifest.golden)]
    named += [("settings", path) for section in manifest.settings.values() for path in section.files()]
    named += [("variants", variant.graph_path(name)) for variant in manifest.variants for name in variant.graphs]
    for key, path in named:
        if path not in listed:
            raise table.error(key, f"names {path!r}, which is not in files")
    _check_variants(table, manifest)
    outputs = {tensor.name for component in manifest.components.values() for tensor in component.outputs}
    for name, section in manifest.settings.items():
        for output in section.outputs():
            if output not in outputs:
                raise table.error("settings", f"{name}: output {output!r} is not in any component's outputs")


def _check_variants(table: Table, manifest: Manifest) -> None:
    if not manifest.variants:
        raise table.error("variants", "a bundle has at least one")
    names = [variant.name for variant in manifest.variants]
    if len(set(names)) != len(names):
        raise table.error("variants", "two variants have one name")
    for variant in manifest.variants:
        if set(variant.graphs) != set(manifest.components):
            raise table.error("variants", f"{variant.name}: graphs: expected one for each component")
        for target in variant.targets:
            if target not in manifest.targets:
                raise table.error("variants", f"{variant.name} serves {target!r}, which is not in targets")


def _read_variant(table: Table, *, strict: bool) -> Variant:
    variant = Variant(
        name=_identifier(table, "name"),
        recipe=table.string("recipe"),
        precision=table.string("precision"),
        folder=table.string("folder"),
        graphs=table.string_map("graphs"),
        targets=table.strings("targets"),
        runs_anywhere=table.boolean("runs_anywhere"),
        session_options=table.string_map("session_options"),
        opset=table.integer("opset", minimum=1, maximum=1000),
        parity=table.string("parity", choices=VERDICTS),
        self_test_min=table.number("self_test_min", minimum=-1, maximum=1),
    )
    _close(table, strict=strict)
    return variant


def _read_source(table: Table, *, strict: bool) -> Source:
    source = Source(
        name=table.string("name"),
        revision=table.string("revision"),
        license=table.string("license"),
        architecture=table.string("architecture"),
        weights_sha256=_digest(table, "weights_sha256"),
    )
    _close(table, strict=strict)
    return source


def _read_tensor(table: Table, *, strict: bool) -> Tensor:
    tensor = Tensor(name=table.string("name"), dtype=table.string("dtype"), shape=table.shape("shape"))
    _close(table, strict=strict)
    return tensor


def _read_component(table: Table, *, strict: bool) -> Component:
    component = Component(
        inputs=tuple(_read_tensor(item, strict=strict) for item in table.tables("inputs")),
        outputs=tuple(_read_tensor(item, strict=strict) for item in table.tables("outputs")),
    )
    _close(table, strict=strict)
    return component


def section_class(key: str) -> type[Section]:
    """The class that reads what stands under a key of :data:`SECTIONS`."""
    file, _, name = SECTIONS[key].partition(":")
    found: type[Section] = getattr(import_module(f"edgekit.spec.settings.{file}"), name)
    return found


def _read_settings(table: Table, *, strict: bool) -> dict[str, Section]:
    settings: dict[str, Section] = {}
    for name, item in ((name, table.table(name)) for name in table.names() if name in SECTIONS):
        settings[name] = section_class(name).read(item)
        _close(item, strict=strict)
    _close(table, strict=strict)
    return settings


def _read_file(table: Table, *, strict: bool) -> FileEntry:
    entry = FileEntry(
        path=table.string("path"),
        size=table.integer("size", maximum=MAX_FILE_BYTES),
        sha256=_digest(table, "sha256"),
    )
    _close(table, strict=strict)
    return entry


def _digest(table: Table, key: str) -> str:
    value = table.string(key)
    if not re.fullmatch(r"[0-9a-f]{64}", value):
        raise table.error(key, "expected 64 lower-case hexadecimal digits")
    return value


def _identifier(table: Table, key: str) -> str:
    # Names become folders, registry tags and store keys later: no separators, no surprises.
    value = table.string(key)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,127}", value):
        raise table.error(key, f"{value!r} is not a name (letters, digits, '.', '_', '+', '-')")
    return value


def _close(table: Table, *, strict: bool) -> None:
    if strict:
        table.done()


def _fields(record: Any) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__dataclass_fields__}


def _tensor_json(tensor: Tensor) -> dict[str, Any]:
    return {"name": tensor.name, "dtype": tensor.dtype, "shape": list(tensor.shape)}


def _component_json(component: Component) -> dict[str, Any]:
    return {
        "inputs": [_tensor_json(tensor) for tensor in component.inputs],
        "outputs": [_tensor_json(tensor) for tensor in component.outputs],
    }


def _variant_json(variant: Variant) -> dict[str, Any]:
    return _fields(variant) | {
        "targets": list(variant.targets),
        "graphs": dict(variant.graphs),
        "session_options": dict(variant.session_options),
    }
