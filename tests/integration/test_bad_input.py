"""Bad input to ``edgekit export``: one typed error with the next thing to try, and nothing left behind."""

import builtins
import errno
import io
import json
import os
import shutil
import struct
from pathlib import Path

import pytest

from edgekit.cli import main
from edgekit.errors import CheckpointError, DataError, EdgekitError, OutputError, RecordError, UsageError
from edgekit.stages.data import builtin_texts

from .checkpoints import write_tiny_checkpoint

pytestmark = [pytest.mark.export, pytest.mark.usefixtures("known_exports")]


@pytest.fixture
def checkpoint(tiny_checkpoint, tmp_path):
    """A copy of the tiny checkpoint to spoil."""
    folder = tmp_path / "input" / "tiny"
    shutil.copytree(tiny_checkpoint, folder)
    return folder


@pytest.fixture
def texts(tmp_path):
    """A few texts: enough to build an unproven bundle in seconds."""
    path = tmp_path / "texts.txt"
    path.write_text("\n".join(row["text"] for row in builtin_texts().judged[:150]), "utf-8")
    return path


@pytest.fixture
def export(tmp_path, capsys):
    """Run the command; its exit code and the error it reported."""

    def call(*arguments, model, target="x86_64-avx2", output=None):
        output = output or tmp_path / "out" / "bundle"
        command = ["export", str(model), "-t", target, "-o", str(output), *map(str, arguments)]
        code = main([*command, "--json"])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        (line,) = captured.out.splitlines()
        return code, json.loads(line)

    return call


@pytest.fixture
def refused(export, tmp_path):
    def call(*arguments, kind: type[EdgekitError], says: str, hint: str, **options) -> None:
        code, document = export(*arguments, **options)
        error = document["error"]
        assert (error["kind"], code) == (kind.kind, kind.exit_code), error
        assert error["exit_code"] == code
        assert says in error["message"]
        assert "\n" not in error["message"]
        assert hint in error["hint"]
        assert left_in(tmp_path / "out") == []

    return call


def left_in(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*")) if folder.exists() else []


def test_healthy_twin_builds(export, checkpoint, texts, tmp_path):
    code, document = export("--data", texts, "--allow-unproven", model=checkpoint)
    assert code == 0
    assert document["manifest"]["name"] == "tiny"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["bundle"]


# --- checkpoints ---------------------------------------------------------------------------------


def test_folder_that_is_no_checkpoint(refused, tmp_path):
    (tmp_path / "input").mkdir()
    (tmp_path / "input/notes.txt").write_text("hello")
    refused(model=tmp_path / "input", kind=CheckpointError, says="no config.json", hint="save_pretrained")


def test_config_without_weights(refused, checkpoint):
    (checkpoint / "model.safetensors").unlink()
    refused(model=checkpoint, kind=CheckpointError, says="no weights", hint="save_pretrained")


def test_config_that_is_not_json(refused, checkpoint):
    (checkpoint / "config.json").write_text("{'hidden_size': 32}")
    refused(model=checkpoint, kind=RecordError, says="config.json", hint="")


def test_config_that_asks_for_its_own_code(refused, checkpoint, tmp_path):
    edit_config(checkpoint, auto_map={"AutoModel": "modeling_evil.EvilModel"})
    (checkpoint / "modeling_evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    refused(model=checkpoint, kind=CheckpointError, says="'auto_map'", hint="architecture transformers ships")
    assert not (tmp_path / "ran").exists()


def test_config_and_weights_of_different_sizes(refused, checkpoint):
    edit_config(checkpoint, hidden_size=64)
    refused(model=checkpoint, kind=CheckpointError, says="cannot load", hint="belong together")


def test_config_with_more_layers_than_the_weights(refused, checkpoint):
    edit_config(checkpoint, num_hidden_layers=3)
    refused(model=checkpoint, kind=CheckpointError, says="the weights do not hold", hint="different models")


def test_config_with_fewer_layers_than_the_weights(refused, tmp_path):
    write_tiny_checkpoint(tmp_path / "input", layers=2)
    edit_config(tmp_path / "input", num_hidden_layers=1)
    says = "the weights hold 16 parameters that config.json does not describe, such as encoder.layer.1."
    refused(model=tmp_path / "input", kind=CheckpointError, says=says, hint="different models")


def test_config_of_an_unknown_architecture(refused, checkpoint):
    edit_config(checkpoint, model_type="nonesuch", architectures=["NonesuchModel"])
    refused(model=checkpoint, kind=CheckpointError, says="nonesuch", hint="")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data[:0],
        lambda data: data[:100],
        lambda data: data[: len(data) // 2],
        lambda data: struct.pack("<Q", 1 << 60) + data[8:],
        lambda data: b"PK\x03\x04" + data[4:],
    ],
    ids=["empty", "cut in its header", "cut in half", "absurd header", "another format"],
)
def test_broken_safetensors(refused, checkpoint, spoil):
    weights = checkpoint / "model.safetensors"
    weights.write_bytes(spoil(weights.read_bytes()))
    refused(model=checkpoint, kind=CheckpointError, says="cannot load", hint="whole")


def test_broken_tokenizer(refused, checkpoint):
    (checkpoint / "tokenizer.json").write_text('{"version": "1.0"')
    refused(model=checkpoint, kind=CheckpointError, says="tiny", hint="")


def edit_config(folder: Path, **changes) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


# --- pickles -------------------------------------------------------------------------------------


@pytest.fixture
def pickled(checkpoint):
    """The same checkpoint, its weights saved as torch did of old."""
    import torch
    from safetensors.torch import load_file

    torch.save(load_file(checkpoint / "model.safetensors"), checkpoint / "pytorch_model.bin")
    (checkpoint / "model.safetensors").unlink()
    return checkpoint


def test_pickle_is_refused_without_the_flag(refused, pickled):
    refused(model=pickled, kind=CheckpointError, says="pytorch_model.bin) are a pickle", hint="--allow-pickle")


def test_pickle_of_tensors_builds_with_the_flag(export, pickled, texts):
    code, document = export("--allow-pickle", "--allow-unproven", "--data", texts, model=pickled)
    assert code == 0, document
    assert [variant["parity"] for variant in document["manifest"]["variants"]] == ["unproven"]


class Malicious:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def test_code_in_a_pickle_does_not_run(refused, pickled, tmp_path):
    import torch

    torch.save({"weight": Malicious(tmp_path / "ran")}, pickled / "pytorch_model.bin")
    torch.load(pickled / "pytorch_model.bin", weights_only=False)
    assert (tmp_path / "ran").exists()  # so it would run where nobody stops it
    (tmp_path / "ran").unlink()
    refused("--allow-pickle", model=pickled, kind=CheckpointError, says="pickle cannot be converted", hint="save")
    assert not (tmp_path / "ran").exists()


# --- names ---------------------------------------------------------------------------------------


def test_unknown_model(refused):
    refused(model="minilmm", kind=UsageError, says="'minilmm' is no model", hint="'minilm'")


def test_unknown_target(refused, checkpoint):
    refused(model=checkpoint, target="x86_64-avx512-vnnni", kind=UsageError, says="unknown target", hint="avx512-vnni")


def test_unknown_recipe(refused, checkpoint):
    refused("--recipe", "int8-dinamic", model=checkpoint, kind=UsageError, says="is no recipe", hint="int8-dynamic")


def test_unknown_task(refused, checkpoint):
    refused("--task", "feature-extractoin", model=checkpoint, kind=UsageError, says="is no task", hint="feature-extr")


def test_task_that_is_not_built_yet(refused, checkpoint):
    refused("--task", "object-detection", model=checkpoint, kind=UsageError, says="object-detection", hint="--task")


def test_task_that_the_checkpoint_is_not_of(refused, checkpoint):
    flags = ("--task", "text-classification")
    refused(*flags, model=checkpoint, kind=CheckpointError, says="classifier", hint="not of this task")


def test_architecture_of_another_task(refused, checkpoint):
    edit_config(checkpoint, architectures=["GPT2LMHeadModel"])
    refused(model=checkpoint, kind=CheckpointError, says="parameters the weights do not hold", hint="not of this task")


# --- data ----------------------------------------------------------------------------------------


BROKEN_DATA = [
    ("a.csv", b"sentence,label\nhello,1\n", "no column 'text'", "the task needs the columns text"),
    ("a.csv", b"texts,label\nhello,1\n", "no column 'text'", "'texts'"),
    ("a.csv", b"", "holds no text", ""),
    ("a.tsv", b"id\ttext\n1\n", "line 2 has too few columns", ""),
    ("a.jsonl", b'{"sentence": "hello"}\n', "text", ""),
    ("a.csv", b"text,text\nhello,1\n", "two columns are called 'text'", ""),
    ("a.jsonl", b'{"text": "hello"\n', "line 1", ""),
    ("a.jsonl", b'{"text": "fine"}\n[1, 2]\n', "line 2", ""),
    ("a.txt", b"caf\xe9\n", "not UTF-8 at byte 3", "UTF-8"),
    ("a.txt", b"", "holds no text", ""),
    ("a.txt", b" \n\n\t\n", "holds no text", ""),
    ("a.xlsx", b"PK\x03\x04", ".jsonl", ""),
    ("a.TXT", "text".encode("utf-16"), "not UTF-8", "UTF-8"),
]


@pytest.mark.parametrize("broken", BROKEN_DATA)
def test_broken_data_file(refused, checkpoint, tmp_path, broken):
    name, data, says, hint = broken
    (tmp_path / name).write_bytes(data)
    refused("--data", tmp_path / name, model=checkpoint, kind=DataError, says=says, hint=hint)


def test_missing_data_file(refused, checkpoint, tmp_path):
    refused("--data", tmp_path / "no.txt", model=checkpoint, kind=DataError, says="no.txt", hint="--data")


def test_folder_as_data_file(refused, checkpoint, tmp_path):
    (tmp_path / "folder.txt").mkdir()
    refused(
        "--data",
        tmp_path / "folder.txt",
        model=checkpoint,
        kind=DataError,
        says="folder.txt",
        hint="a folder for each label",
    )


# --- output --------------------------------------------------------------------------------------


def test_output_that_exists_is_left_alone(export, checkpoint, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").write_text("keep me")
    for flags in ((), ("--replace",)):
        code, document = export(*flags, model=checkpoint, output=tmp_path / "mine")
        assert (code, document["error"]["kind"]) == (OutputError.exit_code, "output")
        assert document["error"]["hint"]
        assert (tmp_path / "mine/notes.txt").read_text() == "keep me"
    assert left_in(tmp_path / "mine") == ["notes.txt"]


class Disk:
    """Counts files opened for writing under a folder; from the ``full_at``-th on the disk is full."""

    def __init__(self, folder: Path, full_at: int | None = None, number: int = errno.ENOSPC) -> None:
        self.folder, self.full_at, self.number = str(folder), full_at, number
        self.opened: list[str] = []
        self._open = io.open

    def open(self, file, mode="r", *arguments, **options):
        if isinstance(file, str | os.PathLike) and set(mode) & set("wxa+") and os.fspath(file).startswith(self.folder):
            self.opened.append(os.fspath(file))
            if self.full_at is not None and len(self.opened) > self.full_at:
                raise OSError(self.number, os.strerror(self.number), os.fspath(file))
        return self._open(file, mode, *arguments, **options)

    def mount(self, patch: pytest.MonkeyPatch) -> None:
        patch.setattr(io, "open", self.open)
        patch.setattr(builtins, "open", self.open)


def test_full_disk_at_any_write_leaves_nothing(export, checkpoint, texts, tmp_path):
    flags = ("--data", texts, "--allow-unproven")
    with pytest.MonkeyPatch.context() as patch:
        (counted := Disk(tmp_path / "out")).mount(patch)
        assert export(*flags, model=checkpoint)[0] == 0
    shutil.rmtree(tmp_path / "out")
    writes = len(counted.opened)
    names = {Path(path).name for path in counted.opened}
    assert {"model.onnx", "model.onnx.data", "edgekit.json", "manifest.json", "parity.json"} <= names
    for full_at in sorted({0, writes // 3, 2 * writes // 3, writes - 1}):
        with pytest.MonkeyPatch.context() as patch:
            (full := Disk(tmp_path / "out", full_at)).mount(patch)
            code, document = export(*flags, model=checkpoint)
        assert len(full.opened) > full_at
        assert code == OutputError.exit_code == 3, document
        assert document["error"]["kind"] == "output"
        assert "No space left" in document["error"]["message"]
        assert "free space" in document["error"]["hint"]
        assert left_in(tmp_path / "out") == []


def test_sync_that_fails_publishes_nothing(export, checkpoint, texts, tmp_path, monkeypatch):
    def fail(descriptor):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fail)
    code, document = export("--data", texts, "--allow-unproven", model=checkpoint)
    assert (code, document["error"]["kind"]) == (3, "output")
    assert document["error"]["hint"]
    assert left_in(tmp_path / "out") == []


def test_full_disk_for_the_evidence_of_a_failed_build(export, checkpoint, texts, tmp_path, monkeypatch):
    class EvidenceDisk(Disk):
        def open(self, file, mode="r", *arguments, **options):
            if ".evidence" in str(file):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(file))
            return self._open(file, mode, *arguments, **options)

    EvidenceDisk(tmp_path).mount(monkeypatch)
    code, document = export("--data", texts, model=checkpoint)
    assert (code, document["error"]["kind"]) == (3, "output")
    assert "evidence" in document["error"]["message"]
    assert document["error"]["hint"]
    assert [name for name in left_in(tmp_path / "out") if not name.endswith(".evidence")] == []


def test_error_for_people_is_a_line_and_a_hint(checkpoint, tmp_path, capsys):
    (checkpoint / "config.json").unlink()
    assert main(["export", str(checkpoint), "-t", "all", "-o", str(tmp_path / "out")]) == 3
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("  ")]
    assert [line.partition(":")[0] for line in lines] == ["error[checkpoint]", "hint"]
