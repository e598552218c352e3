"""digits-vit: a vision transformer that reads scikit-learn's handwritten digits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from training import checkpoint, fitting, scores
from training.split import split

TASK: Final = "image-classification"
SIDE: Final = 16  # pixels the model sees; the images are larger, so that resizing is part of the task
ENLARGED: Final = 4
EPOCHS: Final = 40
BATCH: Final = 32

ABOUT: Final = """\
Which digit is on a picture: a small vision transformer, trained on the 1,797 handwritten digits that come with
scikit-learn (the test part of the Optical Recognition of Handwritten Digits data, E. Alpaydin and C. Kaynak, UCI,
CC BY 4.0).

Pictures of 8 x 8 pixels are stored {enlarged} times as large and resized to {side} x {side} by the image processor.
Single pictures are held out, by a hash of their number; the same writers are in all parts.
"""


def train(folder: Path, report: fitting.Report) -> checkpoint.Measured:
    """Train, write the checkpoint into the folder, and measure it."""
    import torch
    from sklearn.datasets import load_digits
    from transformers import ViTConfig, ViTForImageClassification

    digits = load_digits()
    images, labels = pictures(digits.images), [int(label) for label in digits.target]
    parts = split(range(len(images)), key=lambda index: f"digit {index}", evaluation=20, calibration=5)
    processor = _processor()
    pixels = processor(images=list(images), return_tensors="pt")["pixel_values"]
    model = ViTForImageClassification(
        ViTConfig(
            image_size=SIDE,
            patch_size=4,
            hidden_size=64,
            num_hidden_layers=3,
            num_attention_heads=4,
            intermediate_size=128,
            initializer_range=0.1,  # at the usual 0.02 so narrow a model hardly starts to learn
            num_labels=10,
            id2label={index: str(index) for index in range(10)},
            label2id={str(index): index for index in range(10)},
        )
    )
    order = fitting.batches([1] * len(parts.training), BATCH, EPOCHS)
    targets = torch.tensor(labels)

    def feeds() -> Iterator[dict[str, Any]]:
        shifts = torch.Generator().manual_seed(fitting.SEED)
        for chosen in order:
            indexes = torch.tensor([parts.training[index] for index in chosen])
            yield {"pixel_values": shifted(pixels[indexes], shifts), "labels": targets[indexes]}

    fitting.fit(model, feeds(), steps=len(order), learning_rate=1e-3, report=report, weight_decay=0.05)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    for part, rows in (("evaluation", parts.evaluation), ("calibration", parts.calibration)):
        _write_images(folder, part, images, labels, rows)
    held_out = list(parts.evaluation)
    with torch.inference_mode():
        answers = model(pixel_values=pixels[torch.tensor(held_out)]).logits.argmax(-1).tolist()
    truth = [labels[index] for index in held_out]
    return checkpoint.Measured(
        metric="accuracy",
        value=scores.accuracy(answers, truth),
        baselines={"always the most frequent digit": scores.majority(truth)},
        higher_is_better=True,
        examples={part: len(getattr(parts, part)) for part in ("training", "calibration", "evaluation")},
        about=ABOUT.format(enlarged=ENLARGED, side=SIDE),
    )


def pictures(images: Any) -> Any:
    """Grey levels 0..16, float (count, 8, 8), as uint8 RGB pictures (count, 32, 32, 3), each pixel a square."""
    import numpy as np

    grey = np.rint(np.asarray(images) * (255 / 16)).astype(np.uint8)
    large = grey.repeat(ENLARGED, axis=1).repeat(ENLARGED, axis=2)
    return np.ascontiguousarray(np.broadcast_to(large[..., None], (*large.shape, 3)))


def shifted(pixels: Any, generator: Any) -> Any:
    """Every picture moved by up to one pixel each way, the edge filled with background; (count, 3, side, side)."""
    import torch

    reach = 1
    wide = torch.nn.functional.pad(pixels, (reach, reach, reach, reach), value=-1.0)  # -1 is black, normalized
    side = pixels.shape[-1]
    offsets = torch.randint(0, 2 * reach + 1, (len(pixels), 2), generator=generator).tolist()
    return torch.stack([wide[index, :, y : y + side, x : x + side] for index, (y, x) in enumerate(offsets)])


def _processor() -> Any:
    from transformers import ViTImageProcessorPil  # the one that needs no torchvision

    return ViTImageProcessorPil(size={"height": SIDE, "width": SIDE}, image_mean=[0.5] * 3, image_std=[0.5] * 3)


def _write_images(folder: Path, part: str, images: Any, labels: Sequence[int], rows: Sequence[int]) -> None:
    from PIL import Image

    (folder / part).mkdir()
    for index in rows:
        Image.fromarray(images[index]).save(folder / part / f"{index:04}.png")
    checkpoint.write_rows(
        folder / f"{part}.jsonl", ({"image": f"{part}/{index:04}.png", "label": str(labels[index])} for index in rows)
    )
