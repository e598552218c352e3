"""Image tasks from a checkpoint to the device: what transformers.pipeline answers is what the bundle answers."""

import io
import json

import numpy as np
import pytest

from edgekit import runtime
from edgekit.cli import main
from edgekit.errors import CheckpointError, DataError, ExportError, InputError
from edgekit.pipeline import BuildRequest, build
from edgekit.runtime.images import ImageEncoder
from edgekit.runtime.loading import pipeline
from edgekit.runtime.resample import resize
from edgekit.spec.progress import Silent
from edgekit.stages import synthetic_images
from edgekit.stages.fetch import fetch
from edgekit.stages.image_processor import image_settings, load_processor, processed
from edgekit.stages.quiet import quiet
from edgekit.stages.reference import load_reference, resolve_task

from .vision_checkpoints import SIDE, write_image_checkpoint

pytestmark = [pytest.mark.export, pytest.mark.usefixtures("known_exports")]

TASKS = {
    "vit": "image-classification",
    "swin": "image-classification",
    "resnet": "image-classification",
    "vit-features": "image-feature-extraction",
    "clip": "zero-shot-image-classification",
    "siglip": "zero-shot-image-classification",
}
LABELS = ["a cat", "an upside-down drawing of two dogs in the snow", "noise"]
CLOSE = 1e-4


def long(kind):
    """A kind that is exported by `make test-all` alone."""
    return pytest.param(kind, marks=pytest.mark.long)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Builds a kind when it is first asked for, and keeps it: checkpoint and bundle."""
    root = tmp_path_factory.mktemp("vision")
    made = {}

    def get(kind, recipe="fp32"):
        if (kind, recipe) not in made:
            checkpoint, bundle = root / kind, root / f"{kind}-{recipe}"
            if not checkpoint.exists():
                write_image_checkpoint(checkpoint, kind)
            request = BuildRequest(
                model=str(checkpoint),
                targets=("x86_64-avx2", "arm64-neon"),
                output=bundle,
                task=TASKS[kind],
                recipe=recipe,
                allow_unproven=True,
            )
            made[kind, recipe] = checkpoint, build(request, Silent())
        return made[kind, recipe]

    return get


@pytest.fixture(scope="module")
def images():
    """Files' content: wide, tall, one row, grey, with a palette, transparent, and turned by EXIF."""
    from PIL import Image

    random = np.random.default_rng(5)
    exif = Image.Exif()
    exif[0x0112] = 8
    pictures = [synthetic_images.picture(f"synthetic:{number}") for number in range(4)]
    made = [
        (Image.fromarray(pictures[0]), {}),
        (Image.fromarray(pictures[1]), {"exif": exif}),
        (Image.fromarray(pictures[2]).convert("L"), {}),
        (Image.fromarray(pictures[3]).convert("P"), {}),
        (Image.fromarray(random.integers(0, 256, (50, 41, 4), dtype=np.uint8)), {}),
        (Image.fromarray(random.integers(0, 256, (1, 60, 3), dtype=np.uint8)), {}),
    ]
    files = []
    for image, options in made:
        buffer = io.BytesIO()
        image.save(buffer, "PNG", **options)
        files.append(buffer.getvalue())
    return files


def original(checkpoint, kind):
    """transformers' pipeline, with the processor that needs no torchvision."""
    from transformers import AutoImageProcessor
    from transformers import pipeline as pipeline_of

    with quiet():
        processor = AutoImageProcessor.from_pretrained(checkpoint, backend="pil")
        return pipeline_of(TASKS[kind], model=str(checkpoint), image_processor=processor)


def png(pixels):
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def opened(data):
    from PIL import Image

    return Image.open(io.BytesIO(data))


def assert_same_ranking(found, expected):
    assert [row.keys() for row in found] == [row.keys() for row in expected]
    assert [row["label"] for row in found] == [row["label"] for row in expected]
    assert [row["score"] for row in found] == pytest.approx([row["score"] for row in expected], abs=CLOSE)


@pytest.mark.parametrize("kind", ["vit", long("swin"), long("resnet")])
def test_classifiers_answer_as_the_pipeline(built, images, kind):
    checkpoint, result = built(kind)
    assert result.manifest.components["model"].inputs[0].shape == ("batch", 3, SIDE, SIDE)
    reference = original(checkpoint, kind)
    with pipeline(TASKS[kind], model=result.bundle) as model:
        assert model.self_test().passed
        assert_same_ranking(model(images[0]), reference(opened(images[0])))
        assert_same_ranking(model(images[0], top_k=2), reference(opened(images[0]), top_k=2))
        for batch_size in (1, 3):
            together = model(images, batch_size=batch_size, top_k=7)
            for found, expected in zip(together, reference([opened(data) for data in images], top_k=7), strict=True):
                assert_same_ranking(found, expected)
        for function in ("softmax", "sigmoid", "none"):
            assert_same_ranking(
                model(images[1], function_to_apply=function), reference(opened(images[1]), function_to_apply=function)
            )


def test_features_are_those_of_the_pipeline(built, images):
    checkpoint, result = built("vit-features")
    reference = original(checkpoint, "vit-features")
    with pipeline("image-feature-extraction", model=result.bundle) as model:
        assert model.self_test().passed
        for pool in (False, True):
            expected = np.array(reference([opened(data) for data in images], pool=pool))
            np.testing.assert_allclose(np.array(model(images, pool=pool, batch_size=3)), expected, atol=CLOSE)
            np.testing.assert_allclose(np.array(model(images[0], pool=pool)), expected[0], atol=CLOSE)
        np.testing.assert_allclose(model.embed(images), expected[:, 0], atol=CLOSE)


def test_a_classifiers_features_do_without_a_random_pooler(built, images, tmp_path):
    checkpoint, _ = built("vit")  # holds no pooler: transformers would start one at random
    output = tmp_path / "bundle"
    request = BuildRequest(
        model=str(checkpoint),
        targets=("x86_64-avx2",),
        output=output,
        task="image-feature-extraction",
        recipe="fp32",
        allow_unproven=True,
    )
    build(request, Silent())
    with runtime.load(output) as model:
        states = np.array(model(images[0]))
        np.testing.assert_allclose(model.embed(images[0]), states[0].mean(axis=0), atol=1e-6)


@pytest.mark.parametrize("kind", ["clip", long("siglip")])
def test_pairs_are_scored_as_by_the_pipeline(built, images, kind):
    checkpoint, result = built(kind)
    assert set(result.manifest.components) == {"text", "image"}
    reference = original(checkpoint, kind)
    with pipeline("zero-shot-image-classification", model=result.bundle) as model:
        assert model.self_test().passed
        pictures = [opened(data) for data in images]
        expected = reference(pictures, candidate_labels=LABELS)
        for batch_size in (1, 3):
            for found, row in zip(model(images, candidate_labels=LABELS, batch_size=batch_size), expected, strict=True):
                assert_same_ranking(found, row)
        options = {"candidate_labels": LABELS[:1], "hypothesis_template": "a drawing of {}"}
        assert_same_ranking(model(images[0], **options), reference(pictures[0], **options))
        with quiet():
            tokens = reference.tokenizer(LABELS, padding="max_length", max_length=64, return_tensors="pt")
            vectors = reference.model.get_text_features(**tokens).pooler_output.detach().numpy()
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        np.testing.assert_allclose(model.embed_texts(LABELS), unit, atol=CLOSE)


@pytest.mark.parametrize(
    ("kind", "options"),
    [("vit", {"top_k": 2}), ("vit-features", {"pool": True}), ("clip", {"candidate_labels": LABELS})],
)
def test_run_reads_image_files_from_the_command_line(built, images, kind, options, tmp_path, capsys):
    _, result = built(kind)
    files = [tmp_path / "one.png", tmp_path / "two.png"]
    for file, data in zip(files, images, strict=False):
        file.write_bytes(data)
    flags = [flag for name, value in options.items() for flag in ("--set", f"{name}={json.dumps(value)}")]
    assert main(["run", str(result.bundle), *map(str, files), *flags, "--json"]) == 0
    answers = json.loads(capsys.readouterr().out)["answers"]
    with runtime.load(result.bundle) as model:
        assert answers == model(images[:2], **options)
    assert main(["run", str(result.bundle), str(files[0]), *flags]) == 0
    assert f"{TASKS[kind]} by fp32" in capsys.readouterr().out
    assert main(["run", str(result.bundle), str(tmp_path / "none.png"), *flags]) == InputError.exit_code
    assert "none.png" in capsys.readouterr().err


def test_int8_carries_what_it_says_and_answers_alike(built, images):
    checkpoint, result = built("vit", "int8-dynamic")
    (variant,) = result.manifest.variants
    assert variant.precision == "int8"
    assert "4 products int8" in result.evidence["variants"][0]["changed"]
    reference = original(checkpoint, "vit")
    with runtime.load(result.bundle) as model:
        scores = [
            {row["label"]: row["score"] for row in answer(image, top_k=7)}
            for answer, image in ((model, images[0]), (reference, opened(images[0])))
        ]
    assert 0 < max(abs(scores[0][label] - scores[1][label]) for label in scores[1]) < 0.1


def test_without_images_nothing_is_proven_and_the_reason_says_what_to_give(built):
    _, result = built("vit")
    assert result.manifest.variants[0].parity == "unproven"
    reason = result.evidence["variants"][0]["parity"]["reason"]
    assert "give images with --data, a folder of them with a folder for each label" in reason


def test_labels_of_the_data_must_be_the_models(built, tmp_path):
    checkpoint, _ = built("vit")
    reference = load_reference(fetch(str(checkpoint)), "image-classification", tmp_path)
    right, wrong = ({"image": "synthetic:0", "label": label} for label in ("label 1", "giraffe"))
    path = tmp_path / "a.png"
    path.write_bytes(png(synthetic_images.picture("synthetic:0")))
    (case,) = reference.cases([right | {"image": str(path)}])
    assert case.truth["logits"].tolist() == [1]
    with pytest.raises(DataError, match="'giraffe'"):
        reference.cases([wrong | {"image": str(path)}])


@pytest.mark.parametrize("kind", ["vit", "clip", "siglip"])
def test_the_task_follows_from_the_checkpoint(tmp_path, kind):
    write_image_checkpoint(tmp_path / kind, kind)
    assert resolve_task(fetch(str(tmp_path / kind)), None) == TASKS[kind]


SUPPORTED = (
    "Beit", "Bit", "Blip", "CLIP", "ChineseCLIP", "ConvNext", "DPT", "DeiT", "EfficientNet", "Levit", "MobileNetV1",
    "MobileNetV2", "MobileViT", "OwlViT", "PoolFormer", "Pvt", "Segformer", "Siglip", "ViT",
)  # fmt: skip


@pytest.mark.parametrize("name", SUPPORTED)
def test_every_processor_and_the_device_make_the_same_numbers(name):
    import transformers

    processor = getattr(transformers, f"{name}ImageProcessorPil")()
    encoder = ImageEncoder(image_settings(processor))
    random = np.random.default_rng(7)
    for size in ((37, 91), (120, 17), (1, 30), (224, 224), (480, 301)):
        image = random.integers(0, 256, (*size, 3), dtype=np.uint8)
        np.testing.assert_array_equal(encoder.batch([image]), processed(processor, [image]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": {"shortest_edge": 40}, "do_center_crop": False}, "leaves height and width open"),
        ({"size": {"max_height": 40, "max_width": 40}}, "resizes to max_height, max_width"),
        ({"do_pad": True}, "do_pad without a fixed pad_size"),
        ({"resample": 5}, "resample 5 is not carried"),
        ({"image_mean": [0.5], "image_std": [0.5]}, "1 numbers"),
    ],
)
def test_a_step_no_bundle_carries_is_named(changes, message):
    from transformers import CLIPImageProcessorPil

    with pytest.raises(ExportError, match=message):
        image_settings(CLIPImageProcessorPil(**changes))


def test_a_processor_that_does_more_than_it_says_is_refused():
    from transformers import ViTImageProcessorPil

    class Darker(ViTImageProcessorPil):
        def rescale(self, image, scale, **kwargs):
            return super().rescale(image, scale * 0.99, **kwargs)

    with pytest.raises(ExportError, match=r"does something bundles do not carry yet: .* values up to"):
        image_settings(Darker())


def test_a_checkpoint_without_a_processor_is_named(tmp_path):
    with pytest.raises(CheckpointError, match="cannot load its image processor"):
        load_processor(tmp_path)


@pytest.mark.parametrize(("resample", "levels"), [("bilinear", 1), ("bicubic", 2)])
def test_torchs_own_resize_is_near(resample, levels):
    """What the processors' other backend does: see docs on the reference that was chosen."""
    import torch

    random = np.random.default_rng(3)
    for size, new_size in (((90, 120), (32, 40)), ((30, 20), (64, 50)), ((77, 77), (76, 31))):
        image = random.integers(0, 256, (*size, 3), dtype=np.uint8).transpose(2, 0, 1)
        expected = torch.nn.functional.interpolate(
            torch.from_numpy(image)[None], size=new_size, mode=resample, antialias=True, align_corners=False
        )[0]
        assert np.abs(resize(image, new_size, resample).astype(int) - expected.numpy()).max() <= levels
