"""Images as data of a build: folders, files that name them, and what takes their place."""

import numpy as np
import pytest

from edgekit.errors import DataError
from edgekit.stages import synthetic_images
from edgekit.stages.data import read_rows
from edgekit.stages.image_data import read_image

Image = pytest.importorskip("PIL.Image")


def save(path, height=40, width=60, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


def test_a_folder_of_images_has_a_folder_for_each_label(tmp_path):
    for label in ("ant", "bee"):
        for number in range(5):
            save(tmp_path / label / f"{number}.PNG", seed=number)
    (tmp_path / "notes.txt").write_text("not an image")
    dataset = read_rows(tmp_path)
    rows = (*dataset.calibration, *dataset.judged)
    assert len(dataset.calibration) == 2
    assert len(rows) == 10
    assert {row["label"] for row in dataset.calibration} == {"ant", "bee"}
    assert all(read_image(row["image"], (32, 32)).shape == (40, 60, 3) for row in rows)


def test_a_csv_names_images_from_where_it_lies(tmp_path):
    pixels = save(tmp_path / "pictures" / "a.png")
    (tmp_path / "data.csv").write_text("image,label\npictures/a.png,ant\n")
    (row,) = read_rows(tmp_path / "data.csv").judged
    np.testing.assert_array_equal(read_image(row["image"], (224, 224)), pixels)


def test_a_photo_is_shrunk_to_a_quarter_more_than_the_model_sees(tmp_path):
    save(tmp_path / "photo.png", 600, 800)
    assert read_image(str(tmp_path / "photo.png"), (32, 48)).shape == (60, 80, 3)
    save(tmp_path / "thin.png", 20, 800)
    assert read_image(str(tmp_path / "thin.png"), (8, 8)).shape == (20, 800, 3)


def test_what_is_no_image_is_an_error_of_the_data(tmp_path):
    (tmp_path / "a.png").write_bytes(b"nothing")
    for path in (tmp_path / "a.png", tmp_path / "b.png"):
        with pytest.raises(DataError):
            read_image(str(path), (8, 8))


def test_synthetic_images_differ_and_never_change():
    rows = synthetic_images.dataset().judged
    pictures = [read_image(row["image"], (8, 8)) for row in rows]
    assert len({picture.tobytes() for picture in pictures}) == len(rows)
    assert all(picture.std() > 10 for picture in pictures)
    # The sum of the pixels of one of each kind: golden cases of built bundles depend on them.
    sums = [int(synthetic_images.picture(f"synthetic:{number}").astype(int).sum()) for number in range(3)]
    assert sums == [4686346, 1905149, 4734528]
