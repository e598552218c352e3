"""The reference models, trained here by the code in models/: real accuracy, kept, and fit to be exported."""

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgekit import catalog
from edgekit.spec.model import Trained
from edgekit.stages import train
from edgekit.stages.data import read_apart
from edgekit.stages.fetch import fetch

TRAINING_CODE = catalog.training_code
TRAINED = sorted(name for name, card in catalog.models().items() if isinstance(card.origin, Trained))


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A cold cache, the user's own left alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEKIT_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def digits(cache, tmp_path_factory) -> Iterator[Path]:
    """Trained in a fifth of the epochs: what is kept of a model, and where, is the same."""
    code = tmp_path_factory.mktemp("training") / "models"
    shutil.copytree(catalog.training_code(), code)
    change_epochs(code, 40, 8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(catalog, "training_code", lambda: code)
        yield train.trained(catalog.model("digits-vit"), lambda done, total: None)


def change_epochs(code, before, after):
    trainer = code / "training" / "digits_vit.py"
    text = trainer.read_text(encoding="utf-8")
    assert f"EPOCHS: Final = {before}\n" in text
    trainer.write_text(text.replace(f"EPOCHS: Final = {before}\n", f"EPOCHS: Final = {after}\n"), encoding="utf-8")


def facts(folder):
    return json.loads((folder / "training.json").read_text(encoding="utf-8"))


def test_training_beats_the_baseline_on_held_out_pictures(digits):
    measured = facts(digits)
    assert measured["metric"] == "accuracy"
    assert measured["examples"]["evaluation"] >= 300
    assert measured["value"] > 0.5 > 3 * max(measured["baselines"].values())


@pytest.mark.long
def test_digits_reach_their_accuracy_on_held_out_pictures(cache, monkeypatch):
    monkeypatch.setattr(catalog, "training_code", TRAINING_CODE)
    assert facts(train.trained(catalog.model("digits-vit"), lambda done, total: None))["value"] >= 0.95


def test_the_accuracy_on_the_card_is_that_of_the_files(digits):
    """Asked again the way a user would: from the saved files alone, through transformers' own image processor."""
    import numpy as np
    import torch
    from PIL import Image
    from transformers import ViTForImageClassification, ViTImageProcessorPil

    model = ViTForImageClassification.from_pretrained(digits)
    processor = ViTImageProcessorPil.from_pretrained(digits)
    lines = (digits / "evaluation.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    images = [np.asarray(Image.open(digits / row["image"])) for row in rows]
    with torch.inference_mode():
        best = model(**processor(images=images, return_tensors="pt")).logits.argmax(-1).tolist()
    right = sum(model.config.id2label[answer] == row["label"] for answer, row in zip(best, rows, strict=True))
    assert right / len(rows) == pytest.approx(facts(digits)["value"], abs=1e-4)
    assert f"**{facts(digits)['value']:.4g}**" in (digits / "README.md").read_text(encoding="utf-8")


def test_no_picture_is_in_two_parts(digits):
    data = read_apart(digits / train.CALIBRATION, digits / train.EVALUATION)
    pictures = [(digits / row["image"]).read_bytes() for row in (*data.calibration, *data.judged)]
    assert len(set(pictures)) == len(pictures)


def test_a_second_call_trains_nothing(digits):
    before = (digits / "model.safetensors").stat().st_mtime_ns
    started = time.monotonic()
    assert train.trained(catalog.model("digits-vit"), lambda done, total: None) == digits
    assert time.monotonic() - started < 5
    assert (digits / "model.safetensors").stat().st_mtime_ns == before


def test_fetch_gives_the_trained_checkpoint_with_its_own_data(digits):
    checkpoint = fetch("digits-vit")
    assert checkpoint.folder == digits
    assert checkpoint.source.name == "edgekit/digits-vit"
    assert digits.name.endswith(checkpoint.source.revision)
    assert checkpoint.source.architecture == "ViTForImageClassification"
    assert checkpoint.source.license == "apache-2.0"
    assert checkpoint.own_data == (digits / "calibration.jsonl", digits / "evaluation.jsonl")


def test_changed_training_code_is_another_model(digits, tmp_path, monkeypatch):
    code = tmp_path / "models"
    shutil.copytree(catalog.training_code(), code)
    monkeypatch.setattr(catalog, "training_code", lambda: code)
    assert train.cached(catalog.model("digits-vit")) == digits
    change_epochs(code, 8, 9)
    assert train.cached(catalog.model("digits-vit")) is None


@pytest.mark.long
def test_training_again_gives_the_same_weights(digits, tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEKIT_CACHE", str(tmp_path))
    again = train.trained(catalog.model("digits-vit"), lambda done, total: None)
    assert again != digits
    assert (again / "model.safetensors").read_bytes() == (digits / "model.safetensors").read_bytes()


@pytest.mark.long
@pytest.mark.parametrize("name", [name for name in TRAINED if name != "digits-vit"])
def test_every_other_model_is_better_than_its_baselines(cache, name):
    folder = train.trained(catalog.model(name), lambda done, total: None)
    measured = facts(folder)
    better = {"perplexity per token": lambda value, other: value < other / 4}
    for baseline in measured["baselines"].values():
        assert better.get(measured["metric"], lambda value, other: value > other)(measured["value"], baseline)
    data = read_apart(folder / train.CALIBRATION, folder / train.EVALUATION)
    assert len(data.judged) >= 100
    assert not {row["text"] for row in data.calibration} & {row["text"] for row in data.judged}
