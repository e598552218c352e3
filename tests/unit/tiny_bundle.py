"""A bundle of a few hundred bytes: two variants, a tokenizer, golden cases; contents are arbitrary."""

from pathlib import Path

from edgekit.bundle.package import shared_asset_folder, variant_folder
from edgekit.bundle.writing import write_manifests
from edgekit.spec.manifest import Component, FileEntry, Manifest, Source, Tensor, Variant
from edgekit.spec.settings.embedding import EmbeddingSettings
from edgekit.spec.settings.text import TextSettings
from edgekit.spec.target import Target

TOKENIZER = {"tokenizer.json": b'{"version": "1.0"}\n'}
CONTENT = {
    "golden/cases.json": b'{"texts": []}\n',
    "model/int8/model.onnx": b"int8 graph",
    "model/safe/model.onnx": b"safe graph",
    f"{shared_asset_folder(TOKENIZER)}/tokenizer.json": TOKENIZER["tokenizer.json"],
}


def tiny_variant(name, *, runs_anywhere=True, targets=("x86_64-avx2", "arm64-neon")):
    return Variant(
        name=name,
        recipe="int8-dynamic",
        precision="int8",
        folder=variant_folder(name),
        graphs={"model": "model.onnx"},
        targets=targets,
        runs_anywhere=runs_anywhere,
        session_options={"session.intra_op.allow_spinning": "0"},
        opset=18,
        parity="pass",
        self_test_min=0.9975,
    )


def tiny_manifest(variants=None, files=()):
    return Manifest(
        name="tiny",
        version="1.0.0",
        release=7,
        task="feature-extraction",
        source=Source(
            name="example/tiny",
            revision="0123abc",
            license="apache-2.0",
            architecture="BertModel",
            weights_sha256="ab" * 32,
        ),
        generator={"edgekit": "0.1.0", "onnx": "1.23.0"},
        onnxruntime=">=1.24",
        components={
            "model": Component(
                inputs=(Tensor(name="input_ids", dtype="int64", shape=("batch", "sequence")),),
                outputs=(Tensor(name="last_hidden_state", dtype="float32", shape=("batch", "sequence", 4)),),
            )
        },
        settings={
            "text": TextSettings(
                tokenizer=f"{shared_asset_folder(TOKENIZER)}/tokenizer.json", max_length=16, pad_id=0, pad_type_id=0
            ),
            "embedding": EmbeddingSettings(output="last_hidden_state", pooling="mean", normalize=True, dimension=4),
        },
        golden="golden/cases.json",
        targets={
            "x86_64-avx2": tiny_target("x86_64-avx2", "x86_64", ("avx2", "fma")),
            "arm64-neon": tiny_target("arm64-neon", "arm64", ("asimd",)),
        },
        variants=variants
        or (tiny_variant("int8", runs_anywhere=False, targets=("x86_64-avx2",)), tiny_variant("safe")),
        files=files or tuple(FileEntry(path=path, size=3, sha256="cd" * 32) for path in sorted(CONTENT)),
    )


def tiny_target(name, architecture, cpu_features):
    return Target(
        name=name,
        summary="naïve, für Größe",  # written as UTF-8, not as escapes
        architecture=architecture,
        cpu_features=cpu_features,
        execution_provider="CPUExecutionProvider",
        rank=10,
    )


def fill(folder: Path, content=CONTENT):
    for path, data in content.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)


def write_tiny_bundle(folder: Path, content=CONTENT) -> Manifest:
    folder.mkdir()
    fill(folder, content)
    return write_manifests(folder, tiny_manifest())
