"""Models that are trained on the user's machine: the cache's place, its key, and what a failed training leaves."""

import os
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest

from edgekit import catalog
from edgekit.errors import CheckpointError, OutputError
from edgekit.spec.model import ModelCard, Trained
from edgekit.stages import train

HOME = Path.home()
CARD = ModelCard("small", "a model", "image-classification", "apache-2.0", Trained("small", ()), {})
TRAINER = """
import os, pathlib, sys, time
trainer, folder = sys.argv[1], pathlib.Path(sys.argv[2])
print("unrelated chatter")
print(1, 2, flush=True)
(folder / "config.json").write_text("{}")
time.sleep(float(os.environ.get("PAUSE", "0")))
(folder / "weights").write_text(str(os.getpid()))
print(2, 2, flush=True)
(folder / "training.json").write_text("{}")
"""


@pytest.fixture
def code(tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "models"
    (folder / "training").mkdir(parents=True)
    (folder / "train.py").write_text(TRAINER)
    (folder / "training" / "shared.py").write_text("SEED = 1\n")
    (folder / "training" / "small.py").write_text("STEPS = 1\n")
    (folder / "training" / "other.py").write_text("STEPS = 1\n")
    monkeypatch.setattr(catalog, "training_code", lambda: folder)
    other = replace(CARD, name="other", origin=Trained("other", ()))
    monkeypatch.setattr(catalog, "models", lambda: {"small": CARD, "other": other})
    monkeypatch.setenv("EDGEKIT_CACHE", str(tmp_path / "cache"))
    return folder


def make(card=CARD):
    return train.trained(card, lambda done, total: None)


def left_in(tmp_path):
    return sorted(path.name for path in (tmp_path / "cache" / "models").iterdir())


@pytest.mark.parametrize(
    ("environment", "platform", "expected"),
    [
        ({"EDGEKIT_CACHE": "/elsewhere"}, "linux", Path("/elsewhere")),
        ({"EDGEKIT_CACHE": "", "XDG_CACHE_HOME": str(HOME / "x")}, "linux", HOME / "x" / "edgekit"),
        ({"XDG_CACHE_HOME": "relative"}, "linux", HOME / ".cache" / "edgekit"),
        ({}, "linux", HOME / ".cache" / "edgekit"),
        ({"XDG_CACHE_HOME": str(HOME / "x")}, "darwin", HOME / "Library" / "Caches" / "edgekit"),
        ({"LOCALAPPDATA": str(HOME / "l")}, "win32", HOME / "l" / "edgekit" / "cache"),
        ({}, "win32", HOME / "AppData" / "Local" / "edgekit" / "cache"),
    ],
)
def test_the_cache_is_where_the_system_keeps_caches(environment, platform, expected):
    assert train.cache_folder(environment, platform, HOME) == expected


def test_a_model_is_trained_once_and_then_found(code):
    assert train.cached(CARD) is None
    progress = []
    folder = train.trained(CARD, lambda done, total: progress.append((done, total)))
    assert progress == [(1, 2), (2, 2)]
    first = (folder / "weights").read_text()
    assert train.cached(CARD) == folder
    assert make() == folder
    assert (folder / "weights").read_text() == first


def test_a_published_card_is_never_in_the_cache(code):
    assert train.cached(replace(CARD, origin=None)) is None


@pytest.mark.parametrize("changed", ["train.py", "training/shared.py", "training/small.py"])
def test_changed_training_code_trains_again(code, changed):
    before = make()
    (code / changed).write_text((code / changed).read_text() + "# changed\n")
    assert train.cached(CARD) is None
    assert make() != before


def test_another_models_code_does_not_count(code):
    before = make()
    (code / "training" / "other.py").write_text("STEPS = 2\n")
    assert train.cached(CARD) == before


def test_line_ends_of_a_checkout_do_not_count(code):
    before = make()
    (code / "training" / "small.py").write_bytes(b"STEPS = 1\r\n")
    assert train.cached(CARD) == before


@pytest.mark.parametrize("change", [{"python": "3.12"}, {"torch": "3"}, {"scikit-learn": "2"}])
def test_versions_are_part_of_the_key(code, change):
    versions = {"python": "3.11", "torch": "2", "scikit-learn": "1"}
    keys = {train.key(code, Trained("small", ()), {"small"}, seen) for seen in (versions, versions | change)}
    assert len(keys) == 2


@pytest.mark.parametrize(
    ("code_line", "complaint"),
    [
        ("raise ArithmeticError('the loss is nan at step 3')", "the loss is nan at step 3"),
        ("sys.exit('accuracy 0.1 is no better than chance')", "accuracy 0.1 is no better than chance"),
        ("sys.exit(0)", "it said nothing"),
    ],
)
def test_a_failed_training_says_why_and_leaves_nothing(code, tmp_path, code_line, complaint):
    (code / "train.py").write_text(TRAINER.replace('(folder / "training.json")', f"{code_line}\n(folder / 'x')"))
    with pytest.raises(CheckpointError, match=f"small: training failed: .*{complaint}"):
        make()
    assert train.cached(CARD) is None
    assert left_in(tmp_path) == []


def test_a_broken_off_training_leaves_nothing_and_no_process(code, tmp_path):
    def interrupt(done, total):
        raise KeyboardInterrupt

    (code / "train.py").write_text(TRAINER.replace('os.environ.get("PAUSE", "0")', "60"))
    with pytest.raises(KeyboardInterrupt):
        train.trained(CARD, interrupt)
    assert left_in(tmp_path) == []


def test_two_trainings_at_once_leave_one_whole_model(code, tmp_path):
    script = textwrap.dedent(f"""
        import pathlib, sys
        from edgekit import catalog
        from edgekit.spec.model import ModelCard, Trained
        from edgekit.stages import train
        card = ModelCard("small", "", "image-classification", "apache-2.0", Trained("small", ()), {{}})
        catalog.training_code = lambda: pathlib.Path({str(code)!r})
        catalog.models = lambda: {{"small": card}}
        print(train.trained(card, lambda *_: None))
    """)
    environment = os.environ | {"PAUSE": "0.5"}
    running = [
        subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, env=environment) for _ in range(3)
    ]
    folders = {process.communicate(timeout=60)[0].decode().strip() for process in running}
    assert [process.returncode for process in running] == [0, 0, 0]
    assert len(folders) == 1
    assert left_in(tmp_path) == [Path(folders.pop()).name]


def test_a_cache_that_cannot_be_written_says_so(code, tmp_path):
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(OutputError, match="cannot be kept") as raised:
        make()
    assert "EDGEKIT_CACHE" in raised.value.hint
