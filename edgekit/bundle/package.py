"""ONNX Runtime's view of a bundle: the same folder is one of its model packages (schema 1.0).

Every language that binds ONNX Runtime can open the folder with ``ModelPackageContext``, without
edgekit. Its format: https://github.com/microsoft/onnxruntime, ``model_package/README.md``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

from edgekit.errors import ExportError
from edgekit.spec.manifest import MANIFEST_NAME, Manifest, Variant
from edgekit.spec.provider import PROVIDERS, options_of

PACKAGE_NAME: Final = "manifest.json"
FOLDER: Final = "model"


def variant_folder(name: str) -> str:
    """The folder of a variant in the bundle, the value of its ``Variant.folder``."""
    return f"{FOLDER}/{name}"


def shared_asset_folder(files: Mapping[str, bytes]) -> str:
    """The folder in the bundle for files that all variants share, named by what it holds.

    The name is the one ``onnxruntime.ModelPackage.compute_directory_hash`` computes: the SHA-256 of
    what ``sha256sum`` prints for the files in the order of their paths. ONNX Runtime finds the
    folder by this name; the package's manifest need not declare it.

    Args:
        files: Content by path inside the folder, with forward slashes and in Unicode form NFC.

    Returns:
        ``shared_assets/sha256-`` and 64 hexadecimal digits.
    """
    in_order = sorted(files.items(), key=lambda item: item[0].encode())
    lines = "".join(f"{hashlib.sha256(content).hexdigest()}  {path}\n" for path, content in in_order)
    return f"shared_assets/sha256-{hashlib.sha256(lines.encode()).hexdigest()}"


def ort_package(manifest: Manifest) -> bytes:
    """The bytes of the package's ``manifest.json``.

    ONNX Runtime knows no CPU features and takes the first variant declared for its provider, so
    those that run anywhere come first, each group in the manifest's order of preference.

    Raises:
        ExportError: A variant serves targets of several execution providers, or of one that is
            not known here.
    """
    in_order = sorted(manifest.variants, key=lambda variant: not variant.runs_anywhere)  # stable
    document = {
        "schema_version": "1.0",
        "package_name": manifest.name,
        "package_version": manifest.version,
        "components": {
            component: {"variants": {variant.name: _variant(manifest, variant, component) for variant in in_order}}
            for component in manifest.components
        },
        "additional_metadata": {"edgekit": {"manifest": MANIFEST_NAME, "task": manifest.task}},
    }
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()


def _variant(manifest: Manifest, variant: Variant, component: str) -> dict[str, Any]:
    assets = sorted({path for section in manifest.settings.values() for path in section.files()})
    provider = PROVIDERS[_provider(manifest, variant)]
    options = dict(sorted(options_of(provider.name, variant.precision).items()))
    return {
        "ep": provider.name,
        **({"device": provider.device} if provider.device else {}),
        "variant_directory": variant.folder,
        "executor_info": {
            "ort": {
                "model_file": variant.graphs[component],
                "session_options": dict(sorted(variant.session_options.items())),
                **({"provider_options": options} if options else {}),
            },
            "edgekit": {"recipe": variant.recipe, "assets": [_asset_reference(path) for path in assets]},
        },
    }


def _provider(manifest: Manifest, variant: Variant) -> str:
    providers = sorted({manifest.targets[target].execution_provider for target in variant.targets})
    if len(providers) != 1 or providers[0] not in PROVIDERS:
        raise ExportError(
            f"variant {variant.name}: serves the execution providers {', '.join(providers) or 'of no target'}; "
            f"a package declares one of {', '.join(PROVIDERS)} for each variant",
            hint="make one variant for each execution provider",
        )
    return providers[0]


def _asset_reference(path: str) -> str:
    """A path under ``shared_assets/`` as the reference ``ModelPackage.resolve_string_ref`` resolves."""
    prefix = "shared_assets/sha256-"
    return "sha256:" + path.removeprefix(prefix) if path.startswith(prefix) else path
