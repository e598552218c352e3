"""Image models on hand-made graphs whose answers take two lines of numpy."""

import numpy as np
import pytest
from onnx import helper, numpy_helper

from edgekit.errors import HostError, InputError, IntegrityError, UsageError
from edgekit.runtime import load
from edgekit.runtime.golden import Golden, write_golden
from edgekit.runtime.loading import pipeline
from edgekit.spec.manifest import Component, Tensor
from edgekit.spec.settings.contrast import ContrastSettings
from edgekit.spec.settings.features import FeatureSettings
from edgekit.spec.settings.image import Crop, ImageSettings, Rescale, Resize
from edgekit.spec.settings.labels import LabelSettings
from edgekit.spec.settings.text import TextSettings

from .tiny_model import FOLDER, MAX_LENGTH, VOCABULARY, onnx_model, plain_variant, write_tiny_model

SIZE = (4, 6)
IMAGE = ImageSettings((Resize(*SIZE, "box"), Rescale(1 / 255, 0.0)))
PIXELS = Tensor("pixel_values", "float32", ("batch", 3, *SIZE))
RANDOM = np.random.default_rng(11)
HEAD = RANDOM.normal(size=(3, 4)).astype(np.float32)
WORDS = RANDOM.normal(size=(len(VOCABULARY), 3)).astype(np.float32)
LABELS = ("ant", "bee", "cat", "dog")


def pictures(*sizes):
    return [RANDOM.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]


def means(image):
    """The mean of each channel of the resized image, between 0 and 1."""
    from edgekit.runtime.resample import resize

    return (resize(image.transpose(2, 0, 1), SIZE, "box") / 255).mean(axis=(1, 2)).astype(np.float32)


def graph(nodes, inputs, outputs, constants):
    def declared(tensors):
        types = [helper.np_dtype_to_tensor_dtype(np.dtype(tensor.dtype)) for tensor in tensors]
        return [
            helper.make_tensor_value_info(tensor.name, kind, list(tensor.shape))
            for tensor, kind in zip(tensors, types, strict=True)
        ]

    arrays = [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()]
    return onnx_model(helper.make_graph(nodes, "tiny", declared(inputs), declared(outputs), arrays))


def logits_graph():
    nodes = [
        helper.make_node("ReduceMean", ["pixel_values", "axes"], ["colour"], keepdims=0),
        helper.make_node("MatMul", ["colour", "head"], ["logits"]),
    ]
    outputs = (Tensor("logits", "float32", ("batch", len(LABELS))),)
    return graph(nodes, (PIXELS,), outputs, {"axes": np.array([2, 3]), "head": HEAD}), outputs


def softmax(scores):
    exponents = np.exp(scores - scores.max())
    return exponents / exponents.sum()


def write_classifier(folder, *, activation="softmax", settings=IMAGE, inputs=(PIXELS,)):
    model, outputs = logits_graph()
    image = pictures((9, 5))[0]
    kind = {"softmax": "logits", "sigmoid": "flags", "none": "value"}[activation]
    golden = write_golden("image-classification", [Golden({"image": image}, {kind: means(image) @ HEAD})])
    return write_tiny_model(
        folder,
        files={f"{FOLDER}/model.onnx": model, "golden/cases.json": golden},
        task="image-classification",
        components={"model": Component(inputs, outputs)},
        settings={"image": settings, "labels": LabelSettings("logits", LABELS, activation)},
    )


@pytest.fixture
def classifier(tmp_path):
    with load(write_classifier(tmp_path / "bundle")) as model:
        yield model


def test_an_image_gets_its_best_labels_with_scores(classifier):
    (image,) = pictures((20, 33))
    scores = softmax(means(image) @ HEAD)
    order = np.argsort(-scores)
    answer = classifier(image, top_k=3)
    assert [row["label"] for row in answer] == [LABELS[place] for place in order[:3]]
    assert [row["score"] for row in answer] == pytest.approx(scores[order[:3]], abs=1e-6)
    assert len(classifier(image)) == len(classifier(image, top_k=None)) == len(LABELS)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 8])
def test_a_list_gets_a_list_whatever_the_batch(classifier, batch_size):
    images = pictures((20, 33), (4, 6), (1, 50), (50, 1), (7, 7))
    together = classifier(images, batch_size=batch_size)
    assert len(together) == len(images)
    for image, answer in zip(images, together, strict=True):
        alone = classifier(image)
        assert [row["label"] for row in answer] == [row["label"] for row in alone]
        assert [row["score"] for row in answer] == pytest.approx([row["score"] for row in alone], abs=1e-6)
    assert classifier([]) == []


def test_the_function_to_apply_can_be_chosen(classifier):
    (image,) = pictures((5, 5))
    logits = np.sort(means(image) @ HEAD)[::-1]
    assert [row["score"] for row in classifier(image, function_to_apply="none")] == pytest.approx(logits, abs=1e-6)
    expected = 1 / (1 + np.exp(-logits))
    assert [row["score"] for row in classifier(image, function_to_apply="sigmoid")] == pytest.approx(expected, abs=1e-6)


def test_grey_and_colour_images_share_a_list(classifier):
    grey = RANDOM.integers(0, 256, (8, 8), dtype=np.uint8)
    first, second = classifier([grey, np.stack([grey] * 3, axis=2)])
    assert first == second


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("no-such-file.png", "image 1: no-such-file.png: no such file"),
        (np.zeros((4, 4, 3)), "image 1: expected an array of uint8, got float64"),
        (np.zeros((3, 4, 4), np.uint8), "image 1: expected shape"),
        (np.zeros((2, 4, 4, 3), np.uint8), "image 1: expected shape"),
        (np.zeros((0, 4, 3), np.uint8), "image 1: has no pixels"),
        (None, "image 1: expected a path"),
        ([np.zeros((4, 4, 3), np.uint8)], "image 1: expected a path"),
    ],
)
def test_a_bad_image_never_reaches_onnx_runtime(classifier, bad, message):
    with pytest.raises(InputError, match=message):
        classifier([pictures((4, 4))[0], bad])


@pytest.mark.parametrize("options", [{"top_k": 0}, {"batch_size": 0}, {"function_to_apply": "relu"}])
def test_bad_options_are_usage_errors(classifier, options):
    with pytest.raises(UsageError):
        classifier(pictures((4, 4)), **options)


def test_raw_answers_are_named_by_their_kind(tmp_path):
    (image,) = pictures((9, 9))
    for activation, name in (("softmax", "logits"), ("sigmoid", "flags"), ("none", "value")):
        with load(write_classifier(tmp_path / activation, activation=activation)) as model:
            (raw,) = model.raw([{"image": image}])
            np.testing.assert_allclose(raw[name], means(image) @ HEAD, atol=1e-6)
            assert model.self_test().passed
            with pytest.raises(InputError, match="input 0: has no field 'image'"):
                model.raw([{"text": "a"}])


def test_a_closed_model_says_so(classifier):
    classifier.close()
    with pytest.raises(UsageError):
        classifier(pictures((4, 4)))


def test_a_graph_for_another_size_is_refused(tmp_path):
    settings = ImageSettings((Crop(5, 6),))
    with pytest.raises(HostError, match=r"pixel_values .* is none that this edgekit makes from images of 5x6 pixels"):
        load(write_classifier(tmp_path / "bundle", settings=settings))


def test_a_bundle_without_its_settings_is_refused(tmp_path):
    model, outputs = logits_graph()
    folder = write_tiny_model(
        tmp_path / "bundle",
        files={f"{FOLDER}/model.onnx": model},
        task="image-classification",
        components={"model": Component((PIXELS,), outputs)},
        settings={"labels": LabelSettings("logits", LABELS, "softmax")},
    )
    with pytest.raises(IntegrityError, match="image"):
        load(folder)


def write_embedder(folder, *, pooled):
    """States are the pixels' colours by column; the pooler takes twice their mean."""
    nodes = [
        helper.make_node("ReduceMean", ["pixel_values", "rows"], ["columns"], keepdims=0),
        helper.make_node("Transpose", ["columns"], ["last_hidden_state"], perm=[0, 2, 1]),
    ]
    outputs = [Tensor("last_hidden_state", "float32", ("batch", SIZE[1], 3))]
    constants = {"rows": np.array([2])}
    if pooled:
        nodes += [
            helper.make_node("ReduceMean", ["last_hidden_state", "patches"], ["mean"], keepdims=0),
            helper.make_node("Mul", ["mean", "two"], ["pooler_output"]),
        ]
        outputs.append(Tensor("pooler_output", "float32", ("batch", 3)))
        constants |= {"patches": np.array([1]), "two": np.float32(2)}
    image = pictures((9, 5))[0]
    golden = Golden({"image": image}, {"embedding": (1 + pooled) * means(image)})
    return write_tiny_model(
        folder,
        files={
            f"{FOLDER}/model.onnx": graph(nodes, (PIXELS,), outputs, constants),
            "golden/cases.json": write_golden("image-feature-extraction", [golden]),
        },
        task="image-feature-extraction",
        components={"model": Component((PIXELS,), tuple(outputs))},
        settings={"image": IMAGE, "features": FeatureSettings("last_hidden_state", "pooler_output" * pooled, 3)},
    )


@pytest.mark.parametrize("pooled", [False, True])
def test_features_of_images(tmp_path, pooled):
    images = pictures((9, 9), (3, 40))
    with pipeline("image-feature-extraction", write_embedder(tmp_path / "bundle", pooled=pooled)) as model:
        assert model.self_test().passed
        states = model(images)
        assert np.array(states).shape == (2, 1, SIZE[1], 3)
        assert np.array(model(images[0])).tolist() == states[0]
        expected = np.stack([(1 + pooled) * means(image) for image in images])
        np.testing.assert_allclose(model.embed(images, batch_size=2), expected, atol=1e-6)
        np.testing.assert_allclose(model.embed(images[0]), expected[0], atol=1e-6)
        assert model.embed([]).shape == (0, 3)
        if pooled:
            np.testing.assert_allclose(model(images, pool=True), expected[:, None], atol=1e-6)
        else:
            with pytest.raises(UsageError, match="no pooler"):
                model(images, pool=True)


def write_pairs(folder, *, text_length=0, activation="softmax"):
    """Image vectors are mean colours; text vectors the sum of their words' vectors, padding included."""
    fixed = text_length or "sequence"
    ids = Tensor("input_ids", "int64", ("batch", fixed))
    image_out = (Tensor("image_embeds", "float32", ("batch", 3)),)
    text_out = (Tensor("text_embeds", "float32", ("batch", 3)),)
    image = graph(
        [helper.make_node("ReduceMean", ["pixel_values", "axes"], ["image_embeds"], keepdims=0)],
        (PIXELS,),
        image_out,
        {"axes": np.array([2, 3])},
    )
    text = graph(
        [
            helper.make_node("Gather", ["words", "input_ids"], ["found"]),
            helper.make_node("ReduceSum", ["found", "axes"], ["text_embeds"], keepdims=0),
        ],
        (ids,),
        text_out,
        {"axes": np.array([1]), "words": WORDS},
    )
    asked = pictures((9, 5))[0]
    labels = ["word1", "word2 word3"]
    kind = "logits" if activation == "softmax" else "flags"
    golden = Golden({"image": asked, "candidate_labels": labels}, {kind: pair_logits(asked, labels, text_length)})
    return write_tiny_model(
        folder,
        files={
            f"{FOLDER}/image.onnx": image,
            f"{FOLDER}/text.onnx": text,
            "golden/cases.json": write_golden("zero-shot-image-classification", [golden]),
        },
        task="zero-shot-image-classification",
        variants=(plain_variant(graphs={"image": "image.onnx", "text": "text.onnx"}),),
        components={"image": Component((PIXELS,), image_out), "text": Component((ids,), text_out)},
        settings={
            "image": IMAGE,
            "text": TextSettings("text/tokenizer.json", MAX_LENGTH, 0, 0),
            "contrast": ContrastSettings("image_embeds", "text_embeds", 3, 5.0, -0.5, activation, text_length),
        },
    )


def pair_logits(image, labels, text_length=0, template="This is a photo of {}."):
    rows = []
    for label in labels:
        words = template.format(label).split()
        ids = [2, *(VOCABULARY.index(word) if word in VOCABULARY else 1 for word in words), 3]
        ids += [0] * max(0, text_length - len(ids))
        rows.append(WORDS[ids].sum(axis=0))
    texts = np.stack([row / np.linalg.norm(row) for row in rows])
    vector = means(image)
    return (texts @ (vector / np.linalg.norm(vector)) * 5.0 - 0.5).astype(np.float32)


@pytest.mark.parametrize(("text_length", "activation"), [(0, "softmax"), (12, "sigmoid")])
def test_labels_known_only_when_asking(tmp_path, text_length, activation):
    folder = write_pairs(tmp_path / "bundle", text_length=text_length, activation=activation)
    labels = ["word1 or", "word2 word3 word4 or", "word5 or"]  # the template puts a stop to the last word
    images = pictures((9, 9), (3, 40), (5, 5))
    with load(folder) as model:
        assert model.self_test().passed
        for image, answer in zip(images, model(images, candidate_labels=labels, batch_size=2), strict=True):
            logits = pair_logits(image, labels, text_length)
            scores = softmax(logits) if activation == "softmax" else 1 / (1 + np.exp(-logits))
            order = np.argsort(-scores)
            assert [row["label"] for row in answer] == [labels[place] for place in order]
            assert [row["score"] for row in answer] == pytest.approx(scores[order], abs=1e-5)
        alone = model(images[0], candidate_labels=labels, hypothesis_template="word9 {}")
        logits = np.sort(pair_logits(images[0], labels, text_length, "word9 {}"))[::-1]
        assert [row["score"] for row in alone] == pytest.approx(
            softmax(logits) if activation == "softmax" else 1 / (1 + np.exp(-logits)), abs=1e-5
        )


def test_raw_answers_keep_their_order_when_labels_change(tmp_path):
    images = pictures((9, 9), (3, 40), (5, 5))
    asked = [["word1 or", "word2 or"], ["word1 or", "word2 or"], ["word3 or", "word4 or", "word5 or"]]
    inputs = [{"image": image, "candidate_labels": labels} for image, labels in zip(images, asked, strict=True)]
    with load(write_pairs(tmp_path / "bundle")) as model:
        for item, raw in zip(inputs, model.raw(inputs, batch_size=3), strict=True):
            np.testing.assert_allclose(raw["logits"], pair_logits(item["image"], item["candidate_labels"]), atol=1e-5)


def test_vectors_of_images_and_texts_have_unit_length(tmp_path):
    with load(write_pairs(tmp_path / "bundle")) as model:
        images = model.embed_images(pictures((9, 9), (3, 40)))
        texts = model.embed_texts(["word1", "word2 word3"])
        np.testing.assert_allclose(np.linalg.norm(images, axis=1), 1, atol=1e-6)
        np.testing.assert_allclose(np.linalg.norm(texts, axis=1), 1, atol=1e-6)
        np.testing.assert_array_equal(model.embed_texts("word1"), texts[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "candidate_labels: expected a list of at least one text"),
        ({"candidate_labels": []}, "candidate_labels: expected a list of at least one text"),
        ({"candidate_labels": "word1"}, "candidate_labels: expected a list of at least one text"),
        ({"candidate_labels": ["word1", 3]}, "label 1: expected a str, got int"),
        ({"candidate_labels": ["\ud800"]}, "lone surrogate"),
        ({"candidate_labels": ["word1"], "hypothesis_template": "{} {}"}, "cannot be filled in"),
        ({"candidate_labels": ["word1"], "hypothesis_template": "{"}, "cannot be filled in"),
        ({"candidate_labels": ["word1"], "hypothesis_template": 3}, "hypothesis_template: expected a str"),
    ],
)
def test_bad_labels_never_reach_onnx_runtime(tmp_path, options, message):
    with load(write_pairs(tmp_path / "bundle")) as model, pytest.raises(InputError, match=message):
        model(pictures((9, 9)), **options)
