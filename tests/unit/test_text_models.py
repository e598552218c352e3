"""The text tasks' models on real bundles of a few kilobytes, whose graphs look logits up in a table."""

from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from onnx import TensorProto, helper

from edgekit.errors import InputError, IntegrityError, UsageError
from edgekit.runtime import load, pipeline
from edgekit.runtime.golden import Golden, write_golden
from edgekit.spec.manifest import Component, Manifest, Tensor
from edgekit.spec.settings.answering import AnsweringSettings
from edgekit.spec.settings.labels import LabelSettings
from edgekit.spec.settings.masks import MaskSettings
from edgekit.spec.settings.ranking import RankingSettings
from edgekit.spec.settings.text import TextSettings
from edgekit.spec.settings.tokens import TokenSettings
from edgekit.spec.settings.zero_shot import ZeroShotSettings

from .small_tokenizer import WORDPIECE, wordpiece_json
from .tiny_model import FOLDER, onnx_model, tiny_manifest, write_tiny_model

MAX_LENGTH = 24
TABLE = np.random.default_rng(3).normal(size=(len(WORDPIECE), len(WORDPIECE))).astype(np.float32)
NAMES = ("O", "B-PER", "I-PER")

# For a task: the width of a row of logits (None: one number a token), whether each token has its own, the settings.
TASKS = {
    "text-classification": (3, False, (LabelSettings("logits", ("bad", "fine", "good"), "softmax"),)),
    "token-classification": (3, True, (LabelSettings("logits", NAMES, "softmax"), TokenSettings(1))),
    "fill-mask": (len(WORDPIECE), True, (MaskSettings("logits", 4, len(WORDPIECE), clean_up=False),)),
    "question-answering": (None, True, (AnsweringSettings("start", "end", 2),)),
    "zero-shot-classification": (3, False, (ZeroShotSettings("logits", 3, 2),)),
    "text-ranking": (1, False, (RankingSettings("logits", "sigmoid"),)),
}
GOLDEN = {
    "question-answering": {"question": "who sat", "context": "the cat sat on it"},
    "zero-shot-classification": {"text": "the cat", "candidate_labels": ["cat", "mat"]},
    "text-ranking": {"query": "who sat", "documents": ["the cat", "a mat"]},
    "fill-mask": {"text": "the [MASK] sat"},
}


def graph_bytes(width, *, per_token):
    """Sums of a table's rows: of each token, or of all of them."""
    names = ("start", "end") if width is None else ("logits",)
    nodes, constants, outputs = [], [], []
    for number, name in enumerate(names):
        table = TABLE[:, number] if width is None else TABLE[:, :width]
        constants.append(
            helper.make_tensor(f"table_{name}", TensorProto.FLOAT, table.shape, np.ascontiguousarray(table).ravel())
        )
        looked_up = name if per_token else f"rows_{name}"
        nodes.append(helper.make_node("Gather", [f"table_{name}", "input_ids"], [looked_up]))
        if not per_token:
            nodes.append(helper.make_node("ReduceSum", [looked_up, "axis"], [name], keepdims=0))
        shape = ["batch", *(["sequence"] if per_token else []), *([] if width is None else [width])]
        outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    if not per_token:
        constants.append(helper.make_tensor("axis", TensorProto.INT64, [1], [1]))
    ids = [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "sequence"])]
    tensors = tuple(
        Tensor(output.name, "float32", tuple(d.dim_value or d.dim_param for d in output.type.tensor_type.shape.dim))
        for output in outputs
    )
    component = Component((Tensor("input_ids", "int64", ("batch", "sequence")),), tensors)
    return onnx_model(helper.make_graph(nodes, "table", ids, outputs, constants)), component


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    @cache
    def make(task):
        width, per_token, sections = TASKS[task]
        model, component = graph_bytes(width, per_token=per_token)
        text = TextSettings("text/tokenizer.json", MAX_LENGTH, 0, 0)
        asked = GOLDEN.get(task, {"text": "the cat sat"})
        folder = tmp_path_factory.mktemp(task)
        changes = {
            "task": task,
            "components": {"model": component},
            "settings": {section.key: section for section in (text, *sections)},
        }
        files = {f"{FOLDER}/model.onnx": model, "text/tokenizer.json": wordpiece_json()}
        write_tiny_model(folder, files=files, **changes)
        with load(folder) as opened:  # its own answer is the golden one
            golden = write_golden(task, [Golden(asked, opened.raw([asked])[0])])
        write_tiny_model(folder, files=files | {"golden/cases.json": golden}, **changes)
        return folder

    return make


def logits(text_ids, columns):
    return TABLE[text_ids][:, columns]


@pytest.mark.parametrize("task", TASKS)
def test_bundles_open_test_themselves_and_are_written_as_they_are_read(bundle, task):
    with pipeline(task, bundle(task)) as model:
        assert model.self_test().passed
        manifest = model.manifest
    assert Manifest.from_json(manifest.to_json()) == manifest
    assert all(section.facts() is not None for section in manifest.settings.values())


@pytest.mark.parametrize("task", TASKS)
def test_what_a_text_is_answered_does_not_depend_on_its_batch(bundle, task):
    texts = ["the cat sat [MASK]", "[MASK]", "who [MASK] on it", "a mat [MASK] the", "[MASK] " * 9]
    inputs = {
        "question-answering": [{"question": "who sat", "context": text} for text in texts],
        "zero-shot-classification": [{"text": text, "candidate_labels": ["cat", "old mat"]} for text in texts],
        "text-ranking": [{"query": text, "documents": texts} for text in texts],
    }.get(task, [{"text": text} for text in texts])
    with load(bundle(task)) as model:
        alone = [model.raw([item])[0] for item in inputs]
        together = model.raw(inputs, batch_size=8)
    for one, other in zip(alone, together, strict=True):
        for name in one:
            np.testing.assert_allclose(one[name], other[name], rtol=1e-6)


WRONG = [
    None,
    3,
    b"bytes",
    [3],
    [None],
    ["cat [MASK]", 3],
    [["a", "b"]],
    [b"x"],
    ["cat [MASK]", "\ud800 [MASK]"],
    {"no": "x"},
]


@pytest.mark.parametrize("inputs", WRONG)
@pytest.mark.parametrize("task", ["text-classification", "token-classification", "fill-mask"])
def test_what_is_no_text_never_reaches_the_graph(bundle, task, inputs):
    with load(bundle(task)) as model, pytest.raises(InputError):
        model(inputs)


@pytest.mark.parametrize("inputs", WRONG[:-1])
def test_zero_shot_refuses_what_is_no_text(bundle, inputs):
    with load(bundle("zero-shot-classification")) as model:
        with pytest.raises(InputError):
            model(inputs, ["cat"])
        with pytest.raises(InputError):
            model("the cat", inputs)


@pytest.mark.parametrize("documents", [None, 3, "text", [3], [None], ["a", "\ud800"], [["a"]]])
def test_ranking_refuses_what_is_no_list_of_texts(bundle, documents):
    with load(bundle("text-ranking")) as model:
        with pytest.raises(InputError):
            model("who", documents)
        with pytest.raises(InputError):
            model([{"query": "who", "documents": documents}])


@pytest.mark.parametrize(
    "pairs", [3, None, "text", ["a"], ["a", "b", "c"], [("a",)], [("a", "b", "c")], [("a", 3)], [(3, "a")]]
)
def test_pairs_are_two_texts(bundle, pairs):
    with load(bundle("text-ranking")) as model, pytest.raises(InputError):
        model.predict(pairs)


def test_no_inputs_give_no_answers(bundle):
    for task in ("text-classification", "token-classification", "fill-mask"):
        with load(bundle(task)) as model:
            assert model([]) == []
            assert model.raw([]) == []
    with load(bundle("text-ranking")) as model:
        assert model("who", []) == []
        assert model.predict([]).shape == (0,)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("batch_size", [0, -1])
def test_a_batch_size_that_makes_no_sense_is_refused(bundle, task, batch_size):
    asked = GOLDEN.get(task, {"text": "the cat sat"})
    with load(bundle(task)) as model, pytest.raises(UsageError, match="batch_size"):
        model.raw([asked], batch_size=batch_size)


def test_labels_of_a_text_are_the_softmax_of_its_logits(bundle):
    with load(bundle("text-classification")) as model:
        (answers,) = model(["the cat"], top_k=None)
        ids = [2, WORDPIECE.index("the"), WORDPIECE.index("cat"), 3]
        expected = np.exp(logits(ids, [0, 1, 2]).sum(axis=0))
        assert {item["label"]: item["score"] for item in answers} == pytest.approx(
            dict(zip(("bad", "fine", "good"), expected / expected.sum(), strict=True))
        )
        assert all(one["score"] >= other["score"] for one, other in pairwise(answers))
        for arguments in ({"top_k": 0}, {"top_k": True}, {"top_k": "all"}, {"function_to_apply": "relu"}):
            with pytest.raises(UsageError):
                model("the cat", **arguments)


def test_entities_stand_in_their_text(bundle):
    text = "catnap, the mat sat on x9 \u4e2d unknown"
    with load(bundle("token-classification")) as model:
        tokens = model(text, ignore_labels=[])
        assert [token["word"] for token in tokens][:5] == ["cat", "##n", "##a", "##p", ","]
        assert "\u4e2d" in [token["word"] for token in tokens]  # unknown to the vocabulary
        for strategy in ("simple", "first", "average", "max"):
            found = model(text * 9, aggregation_strategy=strategy, ignore_labels=[], stride=4)
            assert all(one["end"] <= other["start"] for one, other in pairwise(found))
            assert found[-1]["end"] > len(text) * 8
        for arguments in (
            {"aggregation_strategy": "mean"},
            {"stride": 4},
            {"aggregation_strategy": "max", "stride": 99},
        ):
            with pytest.raises(UsageError):
                model(text, **arguments)


def test_masks_are_filled(bundle):
    with load(bundle("fill-mask")) as model:
        (best, *_) = model("the [MASK] sat", top_k=3)
        assert best["token"] == int(TABLE[4].argmax())
        assert best["token_str"] == WORDPIECE[best["token"]]
        assert [[one["token"] for one in row] for row in model("[MASK] [MASK]", top_k=1)] == [[best["token"]]] * 2
        (only,) = model("the [MASK] sat", targets=["cat"])
        assert only["sequence"] == "the cat sat"
        for text, what in (
            ("no mask", "has no"),
            ("cat " * 40 + "[MASK]", "has no"),
            ("[MASK] " + "cat " * 40 + "[MASK]", "1 of 2"),
        ):
            with pytest.raises(InputError, match=what):
                model(text)
        for arguments in ({"top_k": 0}, {"targets": []}, {"targets": [" "]}):
            with pytest.raises(UsageError):
                model("the [MASK]", **arguments)


def test_answers_stand_in_their_context(bundle):
    context = "the cat sat on a mat. paris is in france. " * 5
    with load(bundle("question-answering")) as model:
        for options in ({}, {"doc_stride": 3}, {"max_seq_len": 12}, {"align_to_words": False}, {"max_question_len": 1}):
            for answer in model("who sat", context, top_k=5, **options):
                assert context[answer["start"] : answer["end"]] == answer["answer"] != ""
                assert answer["score"] >= 0
        assert isinstance(model("who sat", context), dict)
        assert isinstance(model(question=["who", "where"], context=context), list)
        for arguments in (
            {"top_k": 0},
            {"max_answer_len": 0},
            {"max_seq_len": 99},
            {"doc_stride": 30},
            {"max_question_len": 0},
        ):
            with pytest.raises(UsageError):
                model("who sat", context, **arguments)
        with pytest.raises(InputError, match="2 questions and 1 contexts"):
            model(["who", "where"], [context])
        with pytest.raises(InputError, match="input 1: context: is empty"):
            model([{"question": "who", "context": "a"}, {"question": "who", "context": ""}])


def test_documents_are_ranked_best_first(bundle):
    documents = ["the cat", "a mat", "paris"]
    with load(bundle("text-ranking")) as model:
        ranked = model("who sat", documents, return_documents=True)
        scores = model.predict([("who sat", document) for document in documents])
        assert [item["score"] for item in ranked] == sorted(scores.tolist(), reverse=True)
        assert all(documents[item["corpus_id"]] == item["text"] for item in ranked)
        assert model(["who sat"], documents, top_k=1) == [model.rank("who sat", documents)[:1]]
        assert model({"query": "who sat", "documents": documents}) == model("who sat", documents)


def test_labels_are_scored_together_or_each_by_itself(bundle):
    with load(bundle("zero-shot-classification")) as model:
        together = model("the cat sat", "cat, mat, paris")
        assert sum(together["scores"]) == pytest.approx(1)
        assert sorted(together["labels"]) == ["cat", "mat", "paris"]
        each = model(["the cat sat"], ["cat", "mat"], multi_label=True)
        assert each[0]["scores"] == sorted(each[0]["scores"], reverse=True)
        with pytest.raises(UsageError, match="hypothesis_template"):
            model("the cat", ["cat"], hypothesis_template="no place")
        with pytest.raises(InputError, match="leaves no room"):
            model("the cat", ["cat " * 40])


def test_an_embedding_model_ranks_labels_by_closeness(tmp_path):
    folder = write_tiny_model(tmp_path)
    with pipeline("zero-shot-classification", folder) as model:
        result = model("word1 word2", ["word1 word2", "word50"], hypothesis_template="{}")
        assert result["labels"][0] == "word1 word2"
        assert result["scores"][0] > 0.9
        (each,) = model(["word1"], "word1, word50", multi_label=True, hypothesis_template="{}")
        assert each["scores"][0] == pytest.approx(1, abs=1e-5)
        assert model.self_test().passed
    with pipeline("feature-extraction", folder) as model:
        assert model.dimension == 8


def test_a_bundle_of_another_task_is_refused(bundle):
    with pytest.raises(UsageError, match="one for fill-mask, and cannot be used for text-ranking"):
        pipeline("text-ranking", bundle("fill-mask"))
    with pipeline("reranking", bundle("text-ranking")) as model:
        assert model("who", ["cat"])


def test_a_graph_that_answers_in_another_shape_is_an_integrity_error(tmp_path):
    model, component = graph_bytes(3, per_token=True)  # a row for each token, where one for the text is promised
    sections = (TextSettings("text/tokenizer.json", MAX_LENGTH, 0, 0), *TASKS["text-classification"][2])
    folder = write_tiny_model(
        tmp_path,
        files={f"{FOLDER}/model.onnx": model, "text/tokenizer.json": wordpiece_json()},
        task="text-classification",
        components={"model": component},
        settings={section.key: section for section in sections},
    )
    with (
        load(folder) as opened,
        pytest.raises(IntegrityError, match=r"logits has shape \(1, 3, 3\), expected \(1, 3\)"),
    ):
        opened("cat")


@pytest.mark.parametrize(
    "section",
    [
        MaskSettings("logits", 70, 3, clean_up=False),
        ZeroShotSettings("logits", 3, 3),
        ZeroShotSettings("logits", 1, 0),
        RankingSettings("logits", "relu"),
        TokenSettings(-2),
        AnsweringSettings("logits", "logits", -2),
    ],
)
def test_settings_that_cannot_be_are_refused(section):
    _, component = graph_bytes(3, per_token=True)
    manifest = tiny_manifest(components={"model": component}, settings={section.key: section})
    with pytest.raises(IntegrityError, match=section.key):
        Manifest.from_json(manifest.to_json())
